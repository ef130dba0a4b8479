// The A/A floor: the baseline's duplicate against the baseline, per metric and cell. Whatever
// differs between the two is noise, so an effect below the floor is none.
#pragma once

#include <string>
#include <vector>

#include "reduce/observations.hpp"

namespace qsweep::reduce {

struct NoiseFloorRow {
  std::string metric, workload, lengths;
  double baseline_mean = 0, duplicate_mean = 0;  // in the metric's units
  double relative_difference = 0;                // (duplicate - baseline) / |baseline|
  double floor =
      0;  // largest |relative difference| inside the 95 % interval; |relative difference| if n = 1
  int64_t n = 0;  // repeats of the smaller side
};

// `original` and `duplicate` are config indices. Cells or metrics that one side lacks give no row.
std::vector<NoiseFloorRow> noise_floor(const Observations& observations, size_t original,
                                       size_t duplicate);

}  // namespace qsweep::reduce
