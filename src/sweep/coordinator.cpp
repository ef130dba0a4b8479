#include "sweep/coordinator.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

constexpr int tag_request = 11, tag_answer = 12;
// Short against any run, long enough that an idle coordinator costs no core.
constexpr auto poll_interval = std::chrono::microseconds(500);

const Stopwatch& loop_watch() {
  static const Stopwatch watch;
  return watch;
}

}  // namespace

std::string to_message(const Request& request) {
  nlohmann::json json = {{"seconds", request.seconds},
                         {"status", request.status},
                         {"error", request.error},
                         {"resident", request.resident},
                         {"leaving", request.leaving}};
  if (request.finished) json["finished"] = *request.finished;
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Request from_message(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text);
  Request request;
  request.seconds = json.at("seconds");
  request.status = json.at("status");
  request.error = json.at("error");
  request.resident = json.at("resident").get<std::set<size_t>>();
  request.leaving = json.at("leaving");
  if (json.contains("finished")) request.finished = json.at("finished").get<size_t>();
  return request;
}

Coordinator::Coordinator(const comm::Communicator& communicator, std::vector<ShareItem> items,
                         uint64_t seed, ProgressSink sink)
    : communicator_(communicator),
      queue_(items, seed),
      tallies_(static_cast<size_t>(communicator.size())),
      sink_(std::move(sink)),
      others_left_(communicator.size() - 1) {
  progress_.total = items.size();
  progress_.ranks = static_cast<size_t>(communicator.size());
  for (const ShareItem& item : items) {
    if (item.run >= cost_by_run_.size()) cost_by_run_.resize(item.run + 1, 0.0);
    cost_by_run_[item.run] = item.cost;
    progress_.cost_total += item.cost;
  }
}

Coordinator::~Coordinator() {
  stop();
  join();
}

void Coordinator::start() {
  if (communicator_.size() > 1) thread_ = std::thread([this] { serve(); });
}

void Coordinator::join() {
  if (thread_.joinable()) thread_.join();
}

void Coordinator::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
}

std::optional<size_t> Coordinator::answer(int rank, const Request& request) {
  const std::lock_guard lock(mutex_);
  if (request.finished && *request.finished < cost_by_run_.size()) {
    RankTally& tally = tallies_[static_cast<size_t>(rank)];
    tally.busy_seconds += request.seconds;
    if (request.status != "dropped") {
      ++tally.runs;
      ++progress_.finished;
      progress_.failed += request.status == "failed" ? 1 : 0;
      progress_.unproven += request.status == "unproven" ? 1 : 0;
      progress_.cost_finished += cost_by_run_[*request.finished];
    }
    progress_.seconds = loop_watch().seconds();
    progress_.run = request.finished;
    progress_.rank = rank;
    progress_.status = request.status;
    progress_.error = request.error;
    progress_.run_seconds = request.seconds;
    if (sink_) sink_(progress_);
  }
  // One rank that must leave ends the hand-out for all: the whole job was told to stop, or is
  // broken.
  if (request.leaving) stopped_ = true;
  ShareItem item;
  if (stopped_ || !queue_.next(request.resident, item)) return std::nullopt;
  return item.run;
}

void Coordinator::serve() {
  comm::Message message;
  while (others_left_ > 0) {
    if (!communicator_.poll(tag_request, message)) {
      std::this_thread::sleep_for(poll_interval);
      continue;
    }
    const std::optional<size_t> run = answer(message.source, from_message(message.text));
    communicator_.send(message.source, tag_answer,
                       run ? std::to_string(*run) : std::string("none"));
    if (!run) --others_left_;
  }
}

Progress Coordinator::progress() const {
  const std::lock_guard lock(mutex_);
  return progress_;
}

std::vector<RankTally> Coordinator::tallies() const {
  const std::lock_guard lock(mutex_);
  return tallies_;
}

WorkSource remote_source(const comm::Communicator& communicator) {
  return [&communicator](const Request& request) -> std::optional<size_t> {
    communicator.send(0, tag_request, to_message(request));
    comm::Message answer;
    while (!communicator.poll(tag_answer, answer)) std::this_thread::sleep_for(poll_interval);
    if (answer.text == "none") return std::nullopt;
    return std::stoull(answer.text);
  };
}

}  // namespace qsweep::sweep
