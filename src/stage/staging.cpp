#include "stage/staging.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace qsweep::stage {
namespace fs = std::filesystem;
namespace {

constexpr auto tick = std::chrono::milliseconds(100);
// Kept free on a disk, for the run folder and for other people.
constexpr uint64_t reserve_bytes = 64u << 20;

// Free bytes where the folder is or will be; nothing is known of some file systems.
uint64_t free_bytes(fs::path folder) {
  std::error_code ignored;
  while (!fs::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  struct statvfs space {};
  if (::statvfs(folder.c_str(), &space) != 0 || space.f_blocks == 0) return UINT64_MAX;
  return static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
}

// Failures of several jobs as one: the first one's kind, every message.
class Failures {
 public:
  void add(const Error& error) {
    const std::scoped_lock hold(mutex_);
    if (text_.empty() || error.kind() == ErrorKind::interrupted) kind_ = error.kind();
    if (told_.insert(error.what()).second)
      text_ += (text_.empty() ? "" : "\n") + std::string(error.what());
    if (error.kind() == ErrorKind::interrupted) text_ = error.what();
  }
  bool interrupted() const {
    const std::scoped_lock hold(mutex_);
    return !text_.empty() && kind_ == ErrorKind::interrupted;
  }
  void throw_if_any() const {
    if (!text_.empty()) throw Error(kind_, text_);
  }

 private:
  mutable std::mutex mutex_;
  ErrorKind kind_ = ErrorKind::io;
  std::string text_;
  std::set<std::string> told_;
};

template <class F>
void collect(Failures& failures, const F& work) {
  try {
    work();
  } catch (const Error& error) {
    failures.add(error);
  } catch (const std::exception& error) {
    failures.add(Error(ErrorKind::io, error.what()));
  }
}

using Job = std::function<void()>;

// Runs the jobs on a few threads, calls `beat` now and then on this one, and throws what failed.
void run_jobs(const std::vector<Job>& jobs, const std::function<void()>& beat) {
  std::atomic<size_t> next{0}, finished{0};
  Failures failures;
  const auto work = [&] {
    for (size_t i = next++; i < jobs.size(); i = next++) {
      if (!failures.interrupted()) collect(failures, jobs[i]);
      ++finished;
    }
  };
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < std::min(max_connections, jobs.size()); ++t) threads.emplace_back(work);
  while (finished < jobs.size()) {
    beat();
    std::this_thread::sleep_for(finished + 1 < jobs.size() ? tick : tick / 5);
  }
  threads.clear();
  failures.throw_if_any();
}

}  // namespace

Staging::Staging(Needs needs, StagingOptions options)
    : needs_(std::move(needs)), options_(std::move(options)) {
  server_ = hub_server_of_environment(options_.http);
  const auto told = std::make_shared<std::mutex>();
  options_.tell = [told, tell = options_.tell](const std::string& notice) {
    const std::scoped_lock hold(*told);
    tell(notice);
  };
}

Outlook Staging::look() {
  models_.resize(needs_.models.size());
  std::vector<std::optional<uint64_t>> sizes(needs_.datasets.size());
  std::vector<char> here(needs_.datasets.size(), 0);
  std::vector<Job> jobs;
  for (size_t i = 0; i < needs_.models.size(); ++i)
    jobs.emplace_back([&, i] { models_[i] = look_at_model(server_, needs_.models[i]); });
  for (size_t i = 0; i < needs_.datasets.size(); ++i) {
    jobs.emplace_back([&, i] {
      const DatasetSource& source = needs_.datasets[i];
      here[i] = is_staged(source, needs_.dataset_folder) ? 1 : 0;
      if (here[i] != 0) return;
      if (server_.offline) {
        throw_invalid("dataset " + source.name + " is not in " + needs_.dataset_folder.string(),
                      "HF_HUB_OFFLINE is set, so nobody is asked",
                      "unset it where there is internet and stage again");
      }
      require_staging();
      sizes[i] = bytes_to_download(source, options_.http);
    });
  }
  run_jobs(jobs, options_.http.check_stop);
  outlook_ = {};
  std::map<fs::path, uint64_t> needed;
  for (const ModelTask& task : models_) {
    const auto files = std::ranges::count_if(task.files, [](const auto& f) { return !f.here; });
    outlook_.items.push_back(
        {"model " + task.need.id.text() + " (commit " + task.commit.substr(0, 12) + ")",
         CachedRepository(task.hub, task.need.id).folder().string(), static_cast<size_t>(files),
         task.bytes(), true, task.complete});
    if (!task.notice.empty()) outlook_.notices.push_back(task.notice);
    if (!task.complete) needed[task.hub] += task.bytes();
  }
  for (size_t i = 0; i < needs_.datasets.size(); ++i) {
    const DatasetSource& source = needs_.datasets[i];
    outlook_.items.push_back({"dataset " + source.name + " (" + source.licence + ")",
                              needs_.dataset_folder.string(), here[i] != 0 ? 0u : 1u,
                              sizes[i].value_or(0), here[i] != 0 || sizes[i].has_value(),
                              here[i] != 0});
    if (here[i] != 0) continue;
    datasets_.push_back(source);
    // The download stays beside what is made of it until that is written.
    needed[needs_.dataset_folder] += 2 * sizes[i].value_or(0);
  }
  for (const auto& item : outlook_.items) outlook_.bytes += item.bytes;
  for (const auto& [folder, bytes] : needed)
    outlook_.spaces.push_back({folder, bytes, free_bytes(folder)});
  return outlook_;
}

StagingCost Staging::fetch() {
  for (const auto& space : outlook_.spaces) {
    if (space.needed == 0 || space.free >= space.needed + reserve_bytes) continue;
    throw Error(ErrorKind::io, "not enough room in " + space.folder.string(),
                std::to_string(space.needed >> 20) + " MiB are needed, " +
                    std::to_string(space.free >> 20) + " MiB are free",
                "free some, or set HF_HOME (models) or QSWEEP_DATA (datasets) to another disk");
  }
  const Stopwatch watch;
  std::atomic<int64_t> bytes{0};
  std::atomic<size_t> done{0};
  StageHooks hooks;
  hooks.progress = [&](int64_t delta) { bytes += delta; };
  hooks.tell = options_.tell;
  std::vector<Job> jobs;
  std::set<fs::path> blobs;  // several files may have the same content
  for (const ModelTask& task : models_) {
    for (const RepositoryFile& file : task.files) {
      const CachedRepository repository(task.hub, task.need.id);
      if (file.here || !blobs.insert(repository.blob(file.etag)).second) continue;
      jobs.emplace_back([&] {
        fetch_blob(server_, task, file, hooks);
        ++done;
      });
    }
  }
  for (const DatasetSource& source : datasets_) {
    jobs.emplace_back([&] {
      stage_dataset(source, needs_.dataset_folder, options_.http, hooks);
      ++done;
    });
  }
  const auto now = [&](bool ended) {
    return StageProgress{static_cast<uint64_t>(std::max<int64_t>(bytes, 0)),
                         outlook_.bytes,
                         done,
                         jobs.size(),
                         watch.seconds(),
                         ended};
  };
  Failures failures;
  collect(failures, [&] { run_jobs(jobs, [&] { options_.progress(now(false)); }); });
  // A model whose blobs are all here is finished, whatever became of the others.
  for (const ModelTask& task : models_) {
    const CachedRepository repository(task.hub, task.need.id);
    std::error_code code;
    const bool whole = std::ranges::all_of(task.files, [&](const RepositoryFile& file) {
      return fs::is_regular_file(repository.blob(file.etag), code);
    });
    if (whole) collect(failures, [&] { finish_model(task); });
  }
  options_.progress(now(true));
  failures.throw_if_any();
  return {now(true).bytes, jobs.size(), watch.seconds()};
}

}  // namespace qsweep::stage
