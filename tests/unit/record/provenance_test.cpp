#include "record/provenance.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "record/inspect.hpp"
#include "record/schema.hpp"
#include "tests/unit/record/example_record.hpp"
#include "tests/unit/record/temporary_folder.hpp"

namespace qsweep::record {
namespace {

TEST(Provenance, FillsTheAttributesOfTheBuildAndThePlace) {
  ::setenv("SLURM_JOB_ID", "4711", 1);
  RunRecord record;
  set_provenance(record, 3, 8);
  ::unsetenv("SLURM_JOB_ID");
  EXPECT_EQ(std::get<int64_t>(record.attributes.at("rank")), 3);
  EXPECT_EQ(std::get<int64_t>(record.attributes.at("ranks")), 8);
  EXPECT_EQ(std::get<std::string>(record.attributes.at("slurm_job_id")), "4711");
  EXPECT_EQ(std::get<std::string>(record.attributes.at("slurm_array_task_id")), "");
  for (const char* name : {"qsweep_version", "git_commit", "compiler", "host", "cpu"}) {
    EXPECT_FALSE(std::get<std::string>(record.attributes.at(name)).empty()) << name;
  }
}

TEST(Provenance, EnvironmentKeepsLauncherVariablesAndNoSecrets) {
  EXPECT_TRUE(is_recorded_variable("SLURM_NTASKS"));
  EXPECT_TRUE(is_recorded_variable("CUDA_VISIBLE_DEVICES"));
  EXPECT_TRUE(is_recorded_variable("OMPI_COMM_WORLD_RANK"));
  EXPECT_FALSE(is_recorded_variable("HOME"));
  EXPECT_FALSE(is_recorded_variable("SLURM_JWT"));
  EXPECT_FALSE(is_recorded_variable("SLURM_api_key"));
  EXPECT_FALSE(is_recorded_variable("QSWEEP_HUB_TOKEN"));
  ::setenv("SLURM_NTASKS", "2", 1);
  ::setenv("SLURM_SOME_SECRET", "hush", 1);
  const nlohmann::json all = environment({{"libraries", {{"blas", "x"}}}});
  ::unsetenv("SLURM_NTASKS");
  ::unsetenv("SLURM_SOME_SECRET");
  EXPECT_EQ(all["variables"]["SLURM_NTASKS"], "2");
  EXPECT_FALSE(all["variables"].contains("SLURM_SOME_SECRET"));
  EXPECT_GT(all["memory_bytes"].get<int64_t>(), 0);
  EXPECT_EQ(all["libraries"]["blas"], "x");
  EXPECT_TRUE(all["libraries"].contains("hdf5"));
}

TEST(Inspect, ShowsEveryNameOfTheRecord) {
  const testing::TemporaryFolder folder;
  const RunRecord record = testing::example_record(5);
  write_record(folder / "r0.h5", record);
  const std::string text = inspect_text(folder / "r0.h5");
  for (const auto& [name, value] : record.attributes)
    EXPECT_NE(text.find(name), std::string::npos) << name;
  for (const auto& [name, value] : record.metrics)
    EXPECT_NE(text.find(name), std::string::npos) << name;
  for (const auto& [name, value] : record.datasets)
    EXPECT_NE(text.find(name), std::string::npos) << name;
  EXPECT_NE(text.find("certificate (7 linears)"), std::string::npos);
  RunRecord bare;
  bare.set("error", std::string("line\x1b[31m\nred"));
  write_record(folder / "bare.h5", bare);
  const std::string plain = inspect_text(folder / "bare.h5");
  EXPECT_EQ(plain.find('\x1b'), std::string::npos) << "a terminal must not obey a file";
  EXPECT_NE(plain.find("certificate: none"), std::string::npos);
}

// docs/record.md is schema::markdown(); QSWEEP_UPDATE_GOLDENS=1 writes it anew.
TEST(Schema, DocumentationIsUpToDate) {
  const std::filesystem::path file =
      std::filesystem::path(QSWEEP_SOURCE_DIR) / "docs" / "record.md";
  const char* update = std::getenv("QSWEEP_UPDATE_GOLDENS");
  if (update != nullptr && std::string_view(update) == "1")
    write_file_atomic(file, schema::markdown());
  EXPECT_EQ(read_file(file, 1 << 20), schema::markdown())
      << "QSWEEP_UPDATE_GOLDENS=1 build/tests/test_record writes it anew";
}

TEST(Schema, NamesAreUniqueAndItemsExist) {
  std::map<std::string_view, int> seen;
  for (const auto& info : schema::attributes()) EXPECT_EQ(++seen[info.name], 1) << info.name;
  for (const auto& info : schema::metrics()) {
    EXPECT_EQ(++seen[info.name], 1) << info.name;
    EXPECT_FALSE(info.units.empty()) << info.name;
    for (const std::string_view path : {info.items, info.weights}) {
      EXPECT_TRUE(path.empty() || schema::find_dataset(path) != nullptr) << path;
      EXPECT_TRUE(path.empty() || path.starts_with("samples/")) << path;  // what read_samples reads
    }
  }
  for (const auto& info : schema::datasets()) {
    EXPECT_EQ(++seen[info.path], 1) << info.path;
    EXPECT_FALSE(info.units.empty() || info.dims.empty()) << info.path;
  }
}

}  // namespace
}  // namespace qsweep::record
