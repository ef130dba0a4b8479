#include "sweep/share/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <numeric>
#include <queue>

#include "base/clock.hpp"

namespace qsweep::sweep {
namespace {

// Configs that a rank holds; the longest unused goes first, as in the executor.
class Residents {
 public:
  explicit Residents(size_t most) : most_(most) {}
  const std::set<size_t>& all() const { return held_; }
  // Whether the config had to be loaded.
  bool use(size_t config) {
    const bool load = held_.insert(config).second;
    if (!load) by_use_.remove(config);
    by_use_.push_back(config);
    if (most_ > 0 && held_.size() > most_) {
      held_.erase(by_use_.front());
      by_use_.pop_front();
    }
    return load;
  }

 private:
  size_t most_;
  std::set<size_t> held_;
  std::list<size_t> by_use_;
};

struct Event {
  double when;  // the rank is free
  size_t rank;
  bool operator>(const Event& other) const {
    return when != other.when ? when > other.when : rank > other.rank;
  }
};

class Simulator {
 public:
  explicit Simulator(const SimulationInput& input)
      : input_(input),
        queue_(input.items, input.seed, static_cast<size_t>(input.ranks), input.load_seconds),
        residents_(static_cast<size_t>(input.ranks), Residents(input.resident_configs)),
        running_(static_cast<size_t>(input.ranks)) {
    result_.rank_busy.assign(static_cast<size_t>(input.ranks), 0.0);
    result_.runs.resize(static_cast<size_t>(input.ranks));
  }

  Simulation run() {
    for (size_t r = 0; r < running_.size(); ++r) free_at_.push({input_.start_seconds, r});
    while (!free_at_.empty()) {
      const Event event = free_at_.top();
      free_at_.pop();
      finish(event.rank);
      hand_out(event);
    }
    summarise();
    return std::move(result_);
  }

 private:
  struct Running {
    bool any = false;
    ShareItem item;
    double seconds = 0, load = 0;
  };
  struct Span {
    double begin, end;
  };

  void finish(size_t rank) {
    Running& running = running_[rank];
    if (running.any) queue_.learn(running.item, running.seconds + running.load, running.load);
    running.any = false;
  }

  void hand_out(const Event& event) {
    const auto item = queue_.next(residents_[event.rank].all());
    if (!item) return;
    coordinator_free_ = std::max(coordinator_free_, event.when) + input_.answer_seconds;
    const double start = coordinator_free_ + input_.round_trip_seconds;
    const bool load = item->loads && residents_[event.rank].use(item->config);
    Running& running = running_[event.rank];
    running = {true, *item, input_.seconds_of ? input_.seconds_of(*item) : item->cost,
               load ? input_.load_seconds : 0};
    const double seconds = running.seconds + running.load, end = start + seconds;
    result_.waits += start - event.when;
    result_.loads += running.load;
    result_.rank_busy[event.rank] += seconds;
    result_.runs[event.rank].push_back(item->run);
    result_.makespan = std::max(result_.makespan, end);
    result_.queue_empty = std::max(result_.queue_empty, event.when);
    if (seconds > result_.longest_run) {
      result_.longest_run = seconds;
      result_.longest = item->run;
    }
    spans_.push_back({start, end});
    free_at_.push({end, event.rank});
  }

  void summarise() {
    result_.busy = std::accumulate(result_.rank_busy.begin(), result_.rank_busy.end(), 0.0);
    double busy = 0;
    for (const Span& span : spans_) {
      busy += std::max(0.0, std::min(span.end, result_.queue_empty) - span.begin);
    }
    const double capacity =
        static_cast<double>(input_.ranks) * (result_.queue_empty - input_.start_seconds);
    result_.busy_until_empty = capacity > 0 ? busy / capacity : 1.0;
  }

  const SimulationInput& input_;
  ShareQueue queue_;
  std::vector<Residents> residents_;
  std::vector<Running> running_;  // [ranks]
  std::priority_queue<Event, std::vector<Event>, std::greater<>> free_at_;
  std::vector<Span> spans_;
  double coordinator_free_ = 0;
  Simulation result_;
};

}  // namespace

double Simulation::efficiency() const {
  const double capacity = makespan * static_cast<double>(rank_busy.size());
  return capacity > 0 ? busy / capacity : 1.0;
}

Simulation simulate(const SimulationInput& input) {
  return Simulator(input).run();
}

std::string what_limits(const Simulation& simulation, const SimulationInput& input) {
  const auto ranks = static_cast<double>(input.ranks);
  const double capacity = ranks * simulation.makespan;
  if (capacity <= 0) return "nothing to run";
  const double work = simulation.busy - simulation.loads;
  struct Part {
    std::string name;
    double seconds;  // of all ranks together
  };
  const double tail =
      std::max(0.0, capacity - simulation.busy - simulation.waits - ranks * input.start_seconds);
  std::vector<Part> parts = {{"making configs resident", simulation.loads},
                             {"waiting for rank 0's answers", simulation.waits},
                             {"idle at the end, while the last runs go on", tail}};
  std::string text = fmt::format("{:.0f} % of the rank-time is work", 100 * work / capacity);
  std::sort(parts.begin(), parts.end(),
            [](const Part& a, const Part& b) { return a.seconds > b.seconds; });
  for (const Part& part : parts) {
    if (part.seconds >= 0.005 * capacity)
      text += fmt::format(", {:.0f} % {}", 100 * part.seconds / capacity, part.name);
  }
  if (simulation.longest_run > (simulation.busy / ranks) && input.ranks > 1) {
    text += fmt::format("; no number of ranks is faster than the longest run, {}",
                        human_seconds(simulation.longest_run));
  }
  return text;
}

}  // namespace qsweep::sweep
