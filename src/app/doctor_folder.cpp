// The file system under the results: what a sweep relies on is tried there.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "app/doctor.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text_table.hpp"
#include "sweep/folder/lock_owner.hpp"
#include "sweep/share/deadline.hpp"

namespace qsweep::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* probe_name = ".qsweep-doctor";
constexpr double least_free_gb = 1, least_free_files = 10000;
// A name that another node has made may show up late on a network file system.
constexpr double visible_within_s = 10;
constexpr double slow_sync_s = 0.5;
constexpr double little_time_s = 300;

// Removed at the end, whatever happened.
struct Probe {
  explicit Probe(const fs::path& path) : file(path) {}
  ~Probe() {
    std::error_code ignored;
    fs::remove(file, ignored);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  const fs::path file;
};

Finding check_writing(const fs::path& out, const fs::path& probe) {
  try {
    write_file_atomic(probe, "before");
    const Stopwatch watch;
    write_file_atomic(probe, "probe");
    const double seconds = watch.seconds();
    if (read_file(probe, 16) != "probe") {
      return {Level::fail, out.string() + " does not give back what was written",
              "choose another --out"};
    }
    return {seconds < slow_sync_s ? Level::ok : Level::warn,
            fmt::format("{}: write, sync and rename work, {} a file", out.string(),
                        human_seconds(seconds)),
            seconds < slow_sync_s ? "" : "every run writes one; a faster file system saves time"};
  } catch (const Error& error) {
    return {Level::fail, error.what(), "choose another --out"};
  }
}

Finding check_space(const fs::path& out) {
  struct statvfs space {};
  if (statvfs(out.c_str(), &space) != 0)
    return {Level::warn, "the free space of " + out.string() + " is not known", "ask for quotas"};
  const double gb = static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize) / 1e9;
  const auto files = static_cast<double>(space.f_favail);
  // Some file systems have no bound on files and say 0.
  const bool counts = space.f_files > 0;
  const bool enough = gb > least_free_gb && (!counts || files > least_free_files);
  return {enough ? Level::ok : Level::warn,
          fmt::format("{:.1f} GB free{} (quotas are not known here)", gb,
                      counts ? fmt::format(", {:.0f} files", files) : ""),
          enough ? "" : "every run is one file: free some space or choose another --out"};
}

// What a rank sees of the file that rank 0 has written and holds locked.
enum class Sight { missing, locked, free, no_locks };

Sight look(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) return Sight::missing;
  const sweep::KernelLock lock = sweep::see_kernel_lock(descriptor);
  ::close(descriptor);
  if (lock == sweep::KernelLock::unknown) return Sight::no_locks;
  return lock == sweep::KernelLock::held_by_other ? Sight::locked : Sight::free;
}

bool appears(const fs::path& file) {
  const Stopwatch watch;
  std::error_code ignored;
  while (!fs::exists(file, ignored)) {
    if (watch.seconds() > visible_within_s) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return true;
}

Finding judge_sights(const std::vector<std::string>& sights) {
  const auto any = [&](Sight sight) {
    return std::count(sights.begin(), sights.end(), std::to_string(static_cast<int>(sight)));
  };
  const std::string advice =
      "a sweep that was killed is then known by its silence, which takes 30 s to tell";
  if (const auto missing = any(Sight::missing); missing > 0) {
    return {Level::fail,
            plural(static_cast<size_t>(missing), "rank") + " cannot open what rank 0 has written",
            "--out must lie on a file system that all nodes share"};
  }
  if (any(Sight::no_locks) > 0) return {Level::ok, "no file locks here", advice};
  if (any(Sight::free) > 0) return {Level::ok, "file locks do not hold between nodes", advice};
  return {Level::ok, sights.size() > 1 ? "file locks hold between the ranks" : "file locks work",
          ""};
}

}  // namespace

Findings check_results_folder(const comm::Communicator& communicator, const fs::path& out) {
  Findings findings;
  const bool leads = communicator.rank() == 0;
  const fs::path file = out / probe_name;
  std::optional<Probe> probe;  // rank 0
  int held = -1;
  if (leads) {
    probe.emplace(file);
    findings.push_back(check_writing(out, file));
    findings.push_back(check_space(out));
    held = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
    if (held >= 0) sweep::take_kernel_lock(held);
  }
  if (communicator.broadcast(held >= 0 ? "written" : "", 0).empty()) return findings;
  // Rank 0 looks too, through a descriptor of its own: alone it is the only one.
  const Sight sight = appears(file) ? look(file) : Sight::missing;
  const auto sights = communicator.all_gather(std::to_string(static_cast<int>(sight)));
  if (leads) findings.push_back(judge_sights(sights));
  if (held >= 0) ::close(held);
  return findings;
}

Finding check_time_left() {
  try {
    const sweep::Deadline deadline = sweep::Deadline::read("");
    if (!deadline.any()) return {Level::ok, "no time limit is known (SLURM_JOB_END_TIME)", ""};
    const double left = deadline.seconds_left();
    return {left > little_time_s ? Level::ok : Level::warn,
            human_seconds(left) + " left until the job ends",
            left > little_time_s ? "" : "runs that would not end in it are not begun"};
  } catch (const Error& error) {
    return {Level::fail, error.what(), ""};
  }
}

}  // namespace qsweep::app
