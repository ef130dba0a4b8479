// Drift of the machines in time, seen by the sentinel: the baseline and its duplicate do the same
// work all through the sweep, so whatever their times do against the clock is drift.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "reduce/observations.hpp"

namespace qsweep::reduce {

// When and where an accepted run was done.
struct RunMoment {
  size_t config = 0, cell = 0;
  int64_t repeat = 0, rank = -1;
  double seconds = 0;  // middle of the run, since 1970
};

struct DriftRow {
  std::string metric, workload, lengths;
  int64_t n = 0;      // runs
  double span_h = 0;  // hours from the first to the last
  // Relative change an hour by least squares against time, its 95 % interval, and p against none.
  double per_hour = 0, ci95_low = 0, ci95_high = 0, p = 1;
  double over_sweep = 0;      // relative change over the span
  double rank_deviation = 0;  // largest relative deviation of a rank's mean; NaN with one rank
};

// Of the metrics that are not deterministic, on one cell, over the runs of both configs. Needs
// three runs at different times; otherwise there is no row.
std::vector<DriftRow> drift(const Observations& observations, const std::vector<RunMoment>& moments,
                            size_t original, size_t duplicate, size_t cell);

}  // namespace qsweep::reduce
