// What is known of a running sweep at one moment, for the terminal, the log and `qsweep status`.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace qsweep::sweep {

struct RankTally {
  size_t runs = 0;
  double busy_seconds = 0;       // in runs, loads included
  double load_seconds = 0;       // of these, making configs resident
  double predicted_seconds = 0;  // what was predicted for its runs
};

struct Running {
  int rank = 0;
  size_t run = 0;      // index into the plan's runs
  double seconds = 0;  // since it was handed out
};

struct Progress {
  size_t total = 0, finished = 0, failed = 0, unproven = 0;  // of this start, resumed ones left out
  size_t ranks = 1, ranks_left = 0;                          // that have gone before the end
  double predicted_total = 0, predicted_finished = 0;        // seconds of one rank
  double spent = 0;                                          // seconds of finished runs
  double seconds = 0;                                        // since the start of the loop
  double left = 0;  // seconds until the end, from what was learned
  std::vector<Running> running;
};

// A run that has just ended.
struct RunEnd {
  size_t run = 0;
  int rank = 0;
  double seconds = 0;
  std::string status, error;
};

// Called at every end of a run and, with a null end, about once a second. Never from two threads at
// once.
using ProgressSink = std::function<void(const Progress&, const RunEnd*)>;

}  // namespace qsweep::sweep
