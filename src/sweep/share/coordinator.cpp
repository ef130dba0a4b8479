#include "sweep/share/coordinator.hpp"

#include <algorithm>
#include <chrono>

#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

using namespace std::chrono_literals;
constexpr int tag_request = 11, tag_answer = 12;
constexpr const char* no_more = "none";
// Short against any run, long enough that an idle coordinator costs no core.
constexpr auto poll_interval = 500us;
// Alone there are no messages to wait for.
constexpr auto lone_interval = 50ms;
constexpr double tick_s = 1;

}  // namespace

Coordinator::Coordinator(const comm::Communicator& communicator, CoordinatorOptions options)
    : communicator_(communicator),
      options_(std::move(options)),
      queue_(options_.items, options_.seed, static_cast<size_t>(communicator.size()),
             options_.load_seconds),
      tallies_(static_cast<size_t>(communicator.size())),
      others_(communicator.size() - 1) {
  progress_.total = options_.items.size();
  progress_.ranks = static_cast<size_t>(communicator.size());
  for (const ShareItem& item : options_.items) progress_.predicted_total += item.cost;
}

Coordinator::~Coordinator() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    own_done_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Coordinator::start() {
  thread_ = std::thread([this] { serve(); });
}

void Coordinator::join() {
  {
    const std::lock_guard lock(mutex_);
    own_done_ = true;
  }
  if (thread_.joinable()) thread_.join();
  if (failure_) std::rethrow_exception(failure_);
}

void Coordinator::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  note_change();
}

void Coordinator::note_change() {
  ++changes_;
  changed_.notify_all();
}

std::optional<size_t> Coordinator::ask(const Request& request) {
  take_in(0, request);
  std::unique_lock lock(mutex_);
  for (;;) {
    const Decision decision = decide(0, request);
    if (decision.answer == Answer::run) return decision.run;
    if (decision.answer == Answer::none) return std::nullopt;
    changed_.wait_for(lock, 1s);
  }
}

void Coordinator::take_in(int rank, const Request& request) {
  std::optional<RunEnd> end;
  {
    const std::lock_guard lock(mutex_);
    if (request.finished && in_hand_.contains(rank)) note_end(rank, request, end.emplace());
    if (request.leaving) {
      ++progress_.ranks_left;
      if (!request.error.empty())
        faults_.push_back("rank " + std::to_string(rank) + ": " + request.error);
      stopped_ = stopped_ || request.stop_all;
    }
    note_change();
  }
  if (end) tell(&*end);
}

void Coordinator::note_end(int rank, const Request& request, RunEnd& end) {
  const InHand held = in_hand_.at(rank);
  in_hand_.erase(rank);
  RankTally& tally = tallies_[static_cast<size_t>(rank)];
  tally.busy_seconds += request.seconds;
  tally.load_seconds += request.load_seconds;
  end = {held.item.run, rank, request.seconds, request.status, request.error};
  if (request.status == "dropped") {
    queue_.put_back(held.item);
    return;
  }
  // A failed run ends when it fails: its time says nothing of the runs that are to come.
  if (request.status != "failed") queue_.learn(held.item, request.seconds, request.load_seconds);
  ++tally.runs;
  tally.predicted_seconds += held.item.cost;
  ++progress_.finished;
  progress_.failed += request.status == "failed" ? 1 : 0;
  progress_.unproven += request.status == "unproven" ? 1 : 0;
  progress_.predicted_finished += held.item.cost;
  progress_.spent += request.seconds;
}

// With the mutex held.
Coordinator::Decision Coordinator::decide(int rank, const Request& request) {
  if (request.leaving || stopped_) return {};
  const auto item = queue_.next(request.resident, options_.deadline.seconds_left());
  if (item) {
    in_hand_[rank] = {*item, watch_.seconds()};
    return {Answer::run, item->run};
  }
  // What others have in hand may come back.
  return {in_hand_.empty() ? Answer::none : Answer::wait, 0};
}

Progress Coordinator::snapshot() const {
  Progress progress = progress_;
  progress.seconds = watch_.seconds();
  double in_hand = 0, longest = 0;
  for (const auto& [rank, held] : in_hand_) {
    const double seconds = progress.seconds - held.since;
    const double left = std::max(0.0, queue_.estimate(held.item) - seconds);
    progress.running.push_back({rank, held.item.run, seconds});
    in_hand += left;
    longest = std::max(longest, left);
  }
  const size_t here = progress.ranks - std::min(progress.ranks - 1, progress.ranks_left);
  progress.left = std::max(longest, (in_hand + queue_.estimate_left()) / static_cast<double>(here));
  return progress;
}

void Coordinator::tell(const RunEnd* end) {
  if (!options_.sink) return;
  const std::lock_guard one_at_a_time(sink_mutex_);
  options_.sink(progress(), end);
}

void Coordinator::serve() {
  try {
    double next_tick = 0, next_beat = options_.heartbeat_seconds;
    for (;;) {
      const bool busy = others_ > 0 && serve_message();
      serve_parked();
      const double now = watch_.seconds();
      if (now >= next_tick) {
        tell(nullptr);
        next_tick = now + tick_s;
      }
      if (now >= next_beat) {
        beat();
        next_beat = now + options_.heartbeat_seconds;
      }
      {
        const std::lock_guard lock(mutex_);
        if (others_ == 0 && own_done_) return;
      }
      if (!busy) std::this_thread::sleep_for(others_ > 0 ? poll_interval : lone_interval);
    }
  } catch (...) {
    // Without messages the others would wait for ever.
    communicator_.abort(exit_code(ErrorKind::internal));
  }
}

// A failing heartbeat ends the hand-out; the others still get their answers.
void Coordinator::beat() {
  if (failure_) return;
  try {
    options_.heartbeat();
  } catch (...) {
    failure_ = std::current_exception();
    stop();
  }
}

bool Coordinator::serve_message() {
  comm::Message message;
  if (!communicator_.poll(tag_request, message)) return false;
  const Request request = from_message(message.text);
  take_in(message.source, request);
  Decision decision;
  {
    const std::lock_guard lock(mutex_);
    decision = decide(message.source, request);
  }
  if (decision.answer == Answer::wait) {
    parked_.emplace(message.source, request);
  } else {
    send_answer(message.source, decision);
  }
  return true;
}

void Coordinator::serve_parked() {
  std::vector<std::pair<int, Decision>> answers;
  {
    const std::lock_guard lock(mutex_);
    if (parked_.empty() || changes_ == changes_seen_) return;
    changes_seen_ = changes_;
    for (const auto& [rank, request] : parked_) {
      const Decision decision = decide(rank, request);
      if (decision.answer != Answer::wait) answers.emplace_back(rank, decision);
    }
  }
  for (const auto& [rank, decision] : answers) {
    parked_.erase(rank);
    send_answer(rank, decision);
  }
}

void Coordinator::send_answer(int rank, const Decision& decision) {
  const bool run = decision.answer == Answer::run;
  communicator_.send(rank, tag_answer, run ? std::to_string(decision.run) : no_more);
  if (!run) --others_;
}

Progress Coordinator::progress() const {
  const std::lock_guard lock(mutex_);
  return snapshot();
}

std::vector<RankTally> Coordinator::tallies() const {
  const std::lock_guard lock(mutex_);
  return tallies_;
}

std::vector<std::string> Coordinator::faults() const {
  const std::lock_guard lock(mutex_);
  return faults_;
}

size_t Coordinator::left() const {
  const std::lock_guard lock(mutex_);
  return queue_.left();
}

WorkSource remote_source(const comm::Communicator& communicator) {
  return [&communicator](const Request& request) -> std::optional<size_t> {
    communicator.send(0, tag_request, to_message(request));
    comm::Message answer;
    while (!communicator.poll(tag_answer, answer)) std::this_thread::sleep_for(poll_interval);
    if (answer.text == no_more) return std::nullopt;
    return std::stoull(answer.text);
  };
}

}  // namespace qsweep::sweep
