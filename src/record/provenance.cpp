#include "record/provenance.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "record/build_info.hpp"
#include "record/hdf5.hpp"
#include "record/schema.hpp"
#include "record/text.hpp"

extern char** environ;

namespace qsweep::record {
namespace {

constexpr auto recorded_prefixes = std::to_array<std::string_view>(
    {"SLURM_", "OMP_", "OMPI_COMM_WORLD_", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
     "GOMP_CPU_AFFINITY", "HDF5_USE_FILE_LOCKING", "NCCL_", "QSWEEP_"});
constexpr auto secret_words = std::to_array<std::string_view>(
    {"TOKEN", "KEY", "SECRET", "PASSW", "CREDENTIAL", "AUTH", "JWT", "COOKIE"});
constexpr int max_lines = 100'000;  // of a /proc file on the largest hosts

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

// What follows the first `separator` of the first line that starts with `key`, without blanks and
// quotes.
std::string value_in(const char* file, std::string_view key, char separator) {
  std::ifstream in(file);
  std::string line;
  for (int i = 0; i < max_lines && std::getline(in, line); ++i) {
    const size_t at = line.find(separator);
    if (!line.starts_with(key) || at == std::string::npos) continue;
    const size_t first = line.find_first_not_of(" \t\"", at + 1);
    const size_t last = line.find_last_not_of(" \t\"");
    return first == std::string::npos ? "" : line.substr(first, last - first + 1);
  }
  return "unknown";
}

std::string cpu_model() {
  static const std::string model = value_in("/proc/cpuinfo", "model name", ':');
  return model;
}

nlohmann::json system_info() {
  utsname names{};
  ::uname(&names);
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGE_SIZE);
  return {{"host", host_name()},
          {"cpu", cpu_model()},
          {"architecture", std::string(names.machine)},
          {"hardware_threads", std::thread::hardware_concurrency()},
          {"memory_bytes", pages > 0 && page > 0 ? int64_t{pages} * page : 0},
          {"os", value_in("/etc/os-release", "PRETTY_NAME=", '=')},
          {"kernel", std::string(names.sysname) + " " + names.release}};
}

nlohmann::json variables() {
  nlohmann::json found = nlohmann::json::object();
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos || !is_recorded_variable(text.substr(0, equals))) continue;
    found[clean_text(text.substr(0, equals))] = clean_text(text.substr(equals + 1));
  }
  return found;
}

}  // namespace

bool is_recorded_variable(std::string_view name) {
  const auto begins = [&](std::string_view prefix) { return name.starts_with(prefix); };
  const auto speaks_of = [&](std::string_view word) {
    const auto same = [](char a, char b) {
      return std::toupper(static_cast<unsigned char>(a)) == b;
    };
    return std::search(name.begin(), name.end(), word.begin(), word.end(), same) != name.end();
  };
  return std::ranges::any_of(recorded_prefixes, begins) &&
         std::ranges::none_of(secret_words, speaks_of);
}

void set_provenance(RunRecord& record, int64_t rank, int64_t ranks) {
  const BuildInfo& build = build_info();
  record.set("qsweep_version", build.version);
  record.set("git_commit", build.git_commit);
  record.set("git_dirty", build.git_dirty);
  record.set("compiler", build.compiler + " " + build.build_type);
  record.set("host", host_name());
  record.set("cpu", cpu_model());
  record.set("rank", rank);
  record.set("ranks", ranks);
  record.set("slurm_job_id", variable("SLURM_JOB_ID"));
  record.set("slurm_array_task_id", variable("SLURM_ARRAY_TASK_ID"));
  record.set("slurm_restart_count", variable("SLURM_RESTART_COUNT"));
}

nlohmann::json environment(const nlohmann::json& extra) {
  const BuildInfo& build = build_info();
  nlohmann::json all = system_info();
  all["build"] = {{"qsweep_version", build.version}, {"git_commit", build.git_commit},
                  {"git_dirty", build.git_dirty},    {"compiler", build.compiler},
                  {"build_type", build.build_type},  {"options", build.options}};
  all["libraries"] = {{"hdf5", hdf5::library_version()}};
  all["schema_version"] = schema::version;
  all["variables"] = variables();
  all.merge_patch(extra);
  return all;
}

}  // namespace qsweep::record
