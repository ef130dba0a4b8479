#include "sweep/sweep.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "sweep/executor.hpp"
#include "sweep/run_folder.hpp"

namespace qsweep::sweep {
namespace {

std::atomic<bool> stop_flag{false};

void check_stop() {
  if (stop_flag.load(std::memory_order_relaxed)) {
    throw Error(ErrorKind::interrupted, "interrupted", "a signal asked the sweep to end",
                "start it again with the same --run-tag to resume");
  }
}

std::shared_ptr<spdlog::logger> rank_log(const std::filesystem::path& folder, int rank) {
  char name[32];
  std::snprintf(name, sizeof name, "rank-%04d.log", rank);
  auto sink =
      std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "logs" / name).string());
  auto log = std::make_shared<spdlog::logger>("rank", sink);
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  log->flush_on(spdlog::level::info);
  return log;
}

// Indices of finished runs as text, so that rank 0 alone reads the folder.
std::string pack_finished(const Finished& finished) {
  return nlohmann::json({{"runs", finished.runs}, {"failed", finished.failed}}).dump();
}

Finished unpack_finished(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  Finished finished;
  finished.runs = json.at("runs").get<std::set<size_t>>();
  finished.failed = json.at("failed");
  return finished;
}

std::vector<ShareItem> items_left(const Plan& plan, const Finished& finished) {
  std::vector<ShareItem> items;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    if (finished.runs.contains(i)) continue;
    const Run& run = plan.runs[i];
    items.push_back({i, run.config, run.cell, run.repeat, run.cost});
  }
  return items;
}

// One rank's loop: ask, run, tell. Its own failure leaves as an exception after the coordinator was
// told.
void work(const WorkSource& next_run, Executor& executor, const Plan& plan, spdlog::logger& log) {
  Request request;
  std::exception_ptr failure;
  while (!failure) {
    request.resident = executor.resident();
    const std::optional<size_t> run = next_run(request);
    if (!run) return;
    request = Request{};
    request.finished = *run;
    const Stopwatch watch;
    try {
      check_stop();
      log.info("start {} {}", plan.runs[*run].id, plan.runs[*run].path);
      const Executor::Outcome outcome = executor.execute(*run);
      request.status = outcome.status;
      request.error = outcome.error;
      log.info("end {} {} after {:.3f} s {}", plan.runs[*run].id, outcome.status, outcome.seconds,
               outcome.error);
    } catch (...) {
      failure = std::current_exception();
      request.status = "dropped";
      request.leaving = true;
    }
    request.seconds = watch.seconds();
  }
  next_run(request);
  std::rethrow_exception(failure);
}

ExecutorOptions executor_options(const comm::Communicator& communicator,
                                 const SweepOptions& options,
                                 const std::shared_ptr<spdlog::logger>& log) {
  ExecutorOptions executor;
  executor.folder = options.folder;
  executor.context = options.context;
  executor.memory_bytes = options.memory_bytes;
  executor.rank = communicator.rank();
  executor.ranks = communicator.size();
  executor.check_stop = check_stop;
  executor.log = [log](const std::string& line) { log->info("{}", line); };
  return executor;
}

// Runs `loop` and tells whether it was interrupted; other errors go on.
bool interrupted_by_signal(const std::function<void()>& loop) {
  try {
    loop();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::interrupted) throw;
    return true;
  }
  return stop_flag.load();
}

}  // namespace

void request_stop() noexcept {
  stop_flag.store(true);
}
bool stop_requested() noexcept {
  return stop_flag.load();
}

SweepOutcome run_sweep(const comm::Communicator& communicator, const Plan& plan,
                       const SweepOptions& options) {
  const int rank = communicator.rank();
  SweepOutcome outcome;
  outcome.total = plan.runs.size();
  Finished finished;
  comm::coordinated(communicator, [&] {
    if (rank != 0) return;
    stage(options.folder, plan, options.study_text, nlohmann::json::parse(options.environment));
    if (!options.prep_only) finished = find_finished(options.folder, plan, options.retry_failed);
  });
  if (options.prep_only) return outcome;
  finished = unpack_finished(communicator.broadcast(rank == 0 ? pack_finished(finished) : "", 0));
  outcome.resumed = finished.runs.size();

  // Set up in a section of its own: a rank that fails here must not leave another one asking for
  // work.
  std::shared_ptr<spdlog::logger> log;
  std::optional<Executor> executor;
  comm::coordinated(communicator, [&] {
    log = rank_log(options.folder, rank);
    log->info("rank {} of {}, {} threads, {} of {} runs finished before", rank, communicator.size(),
              options.context.threads, finished.runs.size(), plan.runs.size());
    executor.emplace(plan, executor_options(communicator, options, log));
  });

  const Stopwatch watch;
  bool interrupted = false;
  std::optional<Coordinator> coordinator;
  if (rank == 0) {
    coordinator.emplace(communicator, items_left(plan, finished),
                        static_cast<uint64_t>(plan.study.seed), options.progress);
    coordinator->start();
  }
  comm::coordinated(communicator, [&] {
    WorkSource source = remote_source(communicator);
    if (coordinator)
      source = [&](const Request& request) { return coordinator->answer(0, request); };
    std::exception_ptr failure;
    try {
      interrupted = interrupted_by_signal([&] { work(source, *executor, plan, *log); });
    } catch (...) {
      failure = std::current_exception();
    }
    // The others' requests must be answered to the end, whatever happened here.
    if (coordinator) coordinator->join();
    if (failure) std::rethrow_exception(failure);
  });
  for (const std::string& flag : communicator.all_gather(interrupted ? "1" : "0")) {
    outcome.interrupted = outcome.interrupted || flag == "1";
  }
  if (coordinator) {
    const Progress progress = coordinator->progress();
    outcome.finished = progress.finished;
    outcome.failed = progress.failed + finished.failed;
    outcome.unproven = progress.unproven;
    outcome.tallies = coordinator->tallies();
    outcome.interrupted = outcome.interrupted && progress.finished < progress.total;
  }
  outcome.interrupted = communicator.broadcast(outcome.interrupted ? "1" : "0", 0) == "1";
  outcome.seconds = watch.seconds();
  return outcome;
}

}  // namespace qsweep::sweep
