// Which runs of a folder count as finished: those whose file is whole, is a record, and is of that
// very run.
#include "sweep/folder/run_folder.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/files.hpp"
#include "record/seal.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;

class RunFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qsweep-folder-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    plan_ = make_plan(parse_study("study: s\nmodel: none\nrepeats: 30\nnoise_floor: false\n"
                                  "configs: {A: {}}\nworkloads: {synthetic: {lengths: [1, 2]}}\n",
                                  "study.yaml"),
                      {});
    ASSERT_EQ(plan_.runs.size(), 60u);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void write(size_t i, const std::string& status = "ok") const {
    record::RunRecord record;
    record.set("run_id", plan_.runs[i].id);
    record.set("status", status);
    if (status != "ok") record.set("error", "because of " + std::to_string(i));
    record::write_record(folder_ / plan_.runs[i].path, record);
  }
  std::string bytes(size_t i) const { return read_file(folder_ / plan_.runs[i].path, 1 << 24); }
  void overwrite(size_t i, std::string_view content) const {
    write_file_atomic(folder_ / plan_.runs[i].path, content);
  }
  std::set<size_t> finished(bool retry_failed = false) const {
    return find_finished(folder_, plan_, retry_failed).runs;
  }

  fs::path folder_;
  Plan plan_;
};

TEST_F(RunFolder, NothingIsFinishedWhereNothingIs) {
  EXPECT_TRUE(finished().empty());
}

TEST_F(RunFolder, FindsOkAndFailedRunsAndRetriesTheLatter) {
  for (const size_t i : {1u, 7u, 59u}) write(i);
  write(8, "failed");
  write(9, "unproven");
  EXPECT_EQ(finished(), (std::set<size_t>{1, 7, 8, 9, 59}));
  EXPECT_EQ(find_finished(folder_, plan_, false).failed, 2u);
  EXPECT_EQ(finished(true), (std::set<size_t>{1, 7, 59}));
}

// Flips all over a small record, one a file, 60 files a scan.
TEST_F(RunFolder, ADamagedFileNeverCountsAsFinished) {
  write(0);
  const std::string whole = bytes(0);
  const size_t step = std::max<size_t>(1, whole.size() / 400);
  std::vector<size_t> places;
  for (size_t at = 0; at < whole.size(); at += at + 120 < whole.size() ? step : 1)
    places.push_back(at);
  for (size_t first = 0; first < places.size(); first += plan_.runs.size()) {
    const size_t count = std::min(plan_.runs.size(), places.size() - first);
    for (size_t i = 0; i < count; ++i) {
      write(i);  // a record of its own: only the flip may make it unfinished
      std::string bent = bytes(i);
      bent[places[first + i]] = static_cast<char>(bent[places[first + i]] ^ 1);
      overwrite(i, bent);
    }
    ASSERT_EQ(finished(), std::set<size_t>()) << "flips from byte " << places[first];
  }
  for (size_t i = 0; i < plan_.runs.size(); ++i) {
    write(i);
    const std::string content = bytes(i);
    overwrite(i, std::string_view(content).substr(0, content.size() * i / plan_.runs.size()));
  }
  EXPECT_EQ(finished(), std::set<size_t>());
}

TEST_F(RunFolder, AnotherRunsFileIsNotFinished) {
  write(3);
  overwrite(4, bytes(3));                   // whole, sealed, of another run
  overwrite(5, record::seal("no record"));  // a seal proves no record
  record::write_record(folder_ / plan_.runs[6].path, {});
  fs::create_directories(folder_ / plan_.runs[7].path);
  EXPECT_EQ(finished(), std::set<size_t>{3});
}

TEST_F(RunFolder, LeftoversOfDeadProcessesAreRemoved) {
  write(0);
  const fs::path leftover =
      (folder_ / plan_.runs[1].path).string() + ".77-0" + std::string(temporary_suffix);
  write_file_atomic(leftover, "half");
  EXPECT_EQ(find_finished(folder_, plan_, false).removed, 1u);
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_EQ(finished(), std::set<size_t>{0});
}

TEST_F(RunFolder, StatesNameWhatIsWrong) {
  write(0);
  write(1, "failed");
  overwrite(2, "cut");
  overwrite(4, record::seal("no record"));
  const std::vector<std::string> paths = {plan_.runs[0].path, plan_.runs[1].path,
                                          plan_.runs[2].path, plan_.runs[3].path,
                                          plan_.runs[4].path};
  std::map<size_t, record::RunState> states;
  for_each_state(folder_, paths,
                 [&](size_t i, const record::RunState& state) { states.emplace(i, state); });
  ASSERT_EQ(states.size(), 4u);  // run 3 has no file
  EXPECT_EQ(states.at(0).status, "ok");
  EXPECT_EQ(states.at(0).run_id, plan_.runs[0].id);
  EXPECT_EQ(states.at(1).status, "failed");
  EXPECT_EQ(states.at(1).error, "because of 1");
  for (const size_t i : {2u, 4u}) {
    EXPECT_EQ(states.at(i).status, "unreadable");
    EXPECT_EQ(states.at(i).run_id, "");
    EXPECT_NE(states.at(i).error.find("results/A"), std::string::npos) << states.at(i).error;
  }
}

// Others of its kind are at work: their runs and temporary files are not a part's business.
TEST_F(RunFolder, APartLooksAtItsOwnRunsAlone) {
  for (const size_t i : {1u, 2u, 7u}) write(i);
  Part part = parse_part("1/2");
  part.runs = {2, 7, 9};
  const std::string rest = ".123-4-0" + std::string(temporary_suffix);
  const fs::path own = folder_ / (plan_.runs[9].path + rest);
  const fs::path foreign = folder_ / (plan_.runs[10].path + rest);
  for (const fs::path& file : {own, foreign}) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << "half";
  }
  const Finished finished = find_finished(folder_, plan_, false, part);
  EXPECT_EQ(finished.runs, (std::set<size_t>{2, 7}));
  EXPECT_EQ(finished.removed, 1u);
  EXPECT_FALSE(fs::exists(own));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST_F(RunFolder, APartStagesOnlyWhatIsNotThere) {
  const Part part = parse_part("1/2");
  stage(folder_, plan_, "study", nlohmann::json::object(), part);
  const std::string before = read_file(folder_ / "manifests/plan.json", 1 << 24);
  Plan dearer = plan_;
  for (auto& run : dearer.runs) run.cost *= 2;
  stage(folder_, dearer, "study", nlohmann::json::object(), part);
  EXPECT_EQ(read_file(folder_ / "manifests/plan.json", 1 << 24), before);
  stage(folder_, dearer, "study", nlohmann::json::object());
  EXPECT_NE(read_file(folder_ / "manifests/plan.json", 1 << 24), before);
}

}  // namespace
}  // namespace qsweep::sweep
