#include "sweep/share/learned_costs.hpp"

#include <algorithm>

namespace qsweep::sweep {

void LearnedCosts::Seen::add(double prediction, double measured) {
  ++count;
  seconds += measured;
  predicted += prediction;
  longest = std::max(longest, measured);
}

double LearnedCosts::Seen::scale(double prediction) const {
  if (predicted > 0 && prediction > 0) return prediction * seconds / predicted;
  return seconds / static_cast<double>(count);
}

void LearnedCosts::learn(size_t config, size_t cell, double predicted, double seconds) {
  by_run_[{config, cell}].add(predicted, seconds);
  by_cell_[cell].add(predicted, seconds);
  all_.add(predicted, seconds);
}

double LearnedCosts::estimate(size_t config, size_t cell, double predicted) const {
  if (all_.count == 0) return predicted;
  const auto run = by_run_.find({config, cell});
  if (run != by_run_.end()) return run->second.seconds / static_cast<double>(run->second.count);
  const auto of_cell = by_cell_.find(cell);
  return (of_cell != by_cell_.end() ? of_cell->second : all_).scale(predicted);
}

double LearnedCosts::longest(size_t config, size_t cell) const {
  const auto run = by_run_.find({config, cell});
  return run == by_run_.end() ? 0 : run->second.longest;
}

}  // namespace qsweep::sweep
