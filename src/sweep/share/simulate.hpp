// The hand-out policy in simulated time: what a sweep on many ranks would take, and what keeps it
// from being faster. The queue is the one that the coordinator uses (share.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sweep/share/share.hpp"

namespace qsweep::sweep {

struct SimulationInput {
  std::vector<ShareItem> items;
  int64_t ranks = 1;
  uint64_t seed = 0;
  double load_seconds = 0;        // making a config resident on a rank
  size_t resident_configs = 0;    // that a rank's memory holds at once; 0: all
  double start_seconds = 0;       // from the launch to a rank's first request
  double answer_seconds = 0;      // rank 0's time for one request; requests wait for each other
  double round_trip_seconds = 0;  // from a rank's request to its answer, beside that
  // Seconds of a run; empty: the item's cost.
  std::function<double(const ShareItem&)> seconds_of;
};

struct Simulation {
  double makespan = 0;     // seconds from the launch to the last run's end
  double busy = 0;         // seconds summed over ranks
  double loads = 0;        // of these, making configs resident
  double waits = 0;        // seconds that ranks waited for answers, summed
  double queue_empty = 0;  // when the last run was handed out
  double longest_run = 0;  // with its load
  size_t longest = 0;      // the caller's index of that run
  std::vector<double> rank_busy;
  std::vector<std::vector<size_t>> runs;  // caller's indices per rank, in order
  double efficiency() const;              // busy / (ranks * makespan)
  // busy / (ranks * queue_empty): how busy ranks were while there was work, runs cut at that time.
  double busy_until_empty = 0;
};
Simulation simulate(const SimulationInput& input);

// In words, what the makespan is made of beyond the work shared evenly.
std::string what_limits(const Simulation& simulation, const SimulationInput& input);

}  // namespace qsweep::sweep
