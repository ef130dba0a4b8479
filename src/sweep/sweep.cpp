#include "sweep/sweep.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "sweep/folder/progress_file.hpp"
#include "sweep/folder/rank_beat.hpp"
#include "sweep/folder/run_folder.hpp"
#include "sweep/folder/run_lock.hpp"
#include "sweep/worker.hpp"

namespace qsweep::sweep {
namespace {

std::atomic<bool> stop_flag{false};

// Throws where the rank should drop what it does.
void check_stop(const Deadline& deadline) {
  if (stop_flag.load(std::memory_order_relaxed)) {
    throw Error(ErrorKind::interrupted, "interrupted", "a signal asked the sweep to end",
                "start it again with the same --run-tag to resume");
  }
  if (deadline.passed()) {
    throw Error(ErrorKind::interrupted, "interrupted", "the job ends (" + deadline.source() + ")",
                "start it again with the same --run-tag to resume");
  }
}

std::shared_ptr<spdlog::logger> rank_log(const std::filesystem::path& folder, const Part& part,
                                         int rank) {
  char name[80];
  std::snprintf(name, sizeof name, "rank-%04d%s.log", rank, part.suffix().c_str());
  const std::filesystem::path file = folder / "logs" / name;
  // Opening a pipe for writing would wait for its reader.
  if (file_exists(file) && !std::filesystem::is_regular_file(file))
    throw Error(ErrorKind::io, "cannot write " + file.string(), "not a regular file", "remove it");
  auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
  auto log = std::make_shared<spdlog::logger>("rank", sink);
  log->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  log->flush_on(spdlog::level::info);
  // A log that cannot be written is no reason to lose a sweep; the records' own writes tell of the
  // disk.
  log->set_error_handler([](const std::string&) {});
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

// What a sweep keeps while it goes on.
struct Session {
  const comm::Communicator& communicator;
  const Plan& plan;
  const SweepOptions& options;
  Finished finished;
  std::shared_ptr<spdlog::logger> log;
  std::optional<RunLock> lock;  // rank 0
  std::optional<RankBeat> beat;
  std::optional<Executor> executor;
  std::optional<Coordinator> coordinator;  // rank 0
  bool leads() const { return communicator.rank() == 0; }
};

size_t planned_runs(const Plan& plan, const Part& part) {
  return part.whole() ? plan.runs.size() : part.runs.size();
}

// The part's runs that are not finished.
std::vector<ShareItem> open_items(const Session& session) {
  std::set<size_t> closed = session.finished.runs;
  const Part& part = session.options.part;
  for (size_t i = 0; i < session.plan.runs.size() && !part.whole(); ++i) {
    if (!part.runs.contains(i)) closed.insert(i);
  }
  return share_items(session.plan, closed);
}

ExecutorOptions executor_options(const Session& session) {
  const SweepOptions& options = session.options;
  ExecutorOptions executor;
  executor.folder = options.folder;
  executor.context = options.context;
  executor.memory_bytes = options.memory_bytes;
  // In records the ranks of all parts are counted through, whatever their sizes: each is a place of
  // its own.
  const Part& part = options.part;
  const int size = session.communicator.size();
  executor.rank =
      session.communicator.rank() * static_cast<int>(part.count) + static_cast<int>(part.index - 1);
  executor.ranks = static_cast<int>(part.count) * size;
  executor.check_stop = [&options] { check_stop(options.deadline); };
  executor.log = [log = session.log](const std::string& line) { log->info("{}", line); };
  return executor;
}

// Rank 0 takes the folder, stages it and looks for what is finished; then all know.
void prepare(Session& session) {
  const SweepOptions& options = session.options;
  comm::coordinated(session.communicator, [&] {
    if (!session.leads()) return;
    RunLock::Options lock;
    lock.suffix = options.part.suffix();
    lock.force = options.force;
    lock.tell = options.tell;
    session.lock.emplace(options.folder, lock);
    stage(options.folder, session.plan, options.study_text,
          nlohmann::json::parse(options.environment), options.part);
    if (options.prep_only) return;
    clear_progress(options.folder, options.part);
    clear_rank_beats(options.folder, options.part);
    session.finished =
        find_finished(options.folder, session.plan, options.retry_failed, options.part);
    if (session.finished.removed > 0)
      options.tell(std::to_string(session.finished.removed) + " leftovers of dead ranks removed");
  });
  if (options.prep_only) return;
  session.finished = unpack_finished(
      session.communicator.broadcast(session.leads() ? pack_finished(session.finished) : "", 0));
  comm::coordinated(session.communicator, [&] {
    session.beat.emplace(options.folder, options.part, session.communicator.rank(),
                         session.communicator.size());
    session.log = rank_log(options.folder, options.part, session.communicator.rank());
    session.log->info("rank {} of {}, {} threads, {} of {} runs finished before",
                      session.communicator.rank(), session.communicator.size(),
                      options.context.threads, session.finished.runs.size(),
                      planned_runs(session.plan, options.part));
  });
}

// The executor of this rank, with the baseline resident where its weights come by broadcast.
void load(Session& session) {
  session.executor.emplace(session.plan, executor_options(session));
  if (!needs_weights(session.plan, session.finished.runs)) return;
  load_baseline(session.communicator, session.options.context, session.options.load,
                *session.executor, [&](const std::string& line) { session.log->info("{}", line); });
}

void start_coordinator(Session& session) {
  CoordinatorOptions coordinator;
  coordinator.items = open_items(session);
  coordinator.seed = static_cast<uint64_t>(session.plan.study.seed);
  coordinator.load_seconds = predicted_load_seconds(session.plan);
  coordinator.deadline = session.options.deadline;
  coordinator.heartbeat = [&lock = *session.lock] { lock.beat(); };
  auto file = std::make_shared<ProgressFile>(session.options.folder, session.plan,
                                             session.options.part, session.finished.runs.size());
  coordinator.sink = [sink = session.options.progress, file](const Progress& progress,
                                                             const RunEnd* end) {
    file->update(progress);
    if (sink) sink(progress, end);
  };
  session.coordinator.emplace(session.communicator, std::move(coordinator));
  session.coordinator->start();
}

// Works until there is nothing more for this rank; true if it was told to stop.
bool loop(Session& session) {
  WorkSource ask = remote_source(session.communicator);
  if (session.coordinator) {
    ask = [&](const Request& request) { return session.coordinator->ask(request); };
  }
  std::exception_ptr failure;
  bool interrupted = false;
  try {
    work(
        {session.plan, ask, *session.log, session.leads()},
        [&] { check_stop(session.options.deadline); }, *session.executor);
  } catch (const Error& error) {
    interrupted = error.kind() == ErrorKind::interrupted;
    if (!interrupted) failure = std::current_exception();
    session.log->error("leaves: {}", error.what());
  } catch (...) {
    failure = std::current_exception();
  }
  // The others' requests must be answered to the end, whatever happened here.
  if (session.coordinator) session.coordinator->join();
  if (failure) std::rethrow_exception(failure);
  return interrupted;
}

void summarise(const Session& session, SweepOutcome& outcome) {
  const Coordinator& coordinator = *session.coordinator;
  outcome.progress = coordinator.progress();
  outcome.finished = outcome.progress.finished;
  outcome.failed = outcome.progress.failed + session.finished.failed;
  outcome.unproven = outcome.progress.unproven;
  outcome.tallies = coordinator.tallies();
  outcome.left = outcome.progress.total - outcome.finished;
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
  Session session{communicator, plan, options, {}, {}, {}, {}, {}, {}};
  SweepOutcome outcome;
  outcome.total = planned_runs(plan, options.part);
  prepare(session);
  if (options.prep_only) return outcome;
  outcome.resumed = session.finished.runs.size();

  const Stopwatch watch;
  load(session);
  if (session.leads()) start_coordinator(session);
  comm::coordinated(communicator, [&] { loop(session); });
  if (session.leads()) summarise(session, outcome);
  outcome.left = std::stoull(communicator.broadcast(std::to_string(outcome.left), 0));
  outcome.interrupted = outcome.left > 0;
  outcome.seconds = watch.seconds();
  return outcome;
}

}  // namespace qsweep::sweep
