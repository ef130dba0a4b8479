// What runs cost, learned while they end: the best estimate of a run's seconds from the prediction
// and from the runs that have ended.
//   seen this config and cell:  their mean
//   seen the cell:              prediction * (seconds seen of the cell / predicted for the same)
//   seen anything:              prediction * (all seconds seen / all predicted)
//   nothing:                    prediction
// Where nothing was predicted (0: the model's shape is unknown), means stand in for ratios.
#pragma once

#include <cstddef>
#include <map>
#include <utility>

namespace qsweep::sweep {

class LearnedCosts {
 public:
  void learn(size_t config, size_t cell, double predicted, double seconds);
  double estimate(size_t config, size_t cell, double predicted) const;
  // The longest run seen of this config and cell; 0 where none was seen.
  double longest(size_t config, size_t cell) const;
  bool knows_anything() const { return all_.count > 0; }

 private:
  struct Seen {
    size_t count = 0;
    double seconds = 0, predicted = 0, longest = 0;
    void add(double prediction, double measured);
    // The estimate of a run of which `prediction` was predicted.
    double scale(double prediction) const;
  };
  std::map<std::pair<size_t, size_t>, Seen> by_run_;  // config, cell
  std::map<size_t, Seen> by_cell_;
  Seen all_;
};

}  // namespace qsweep::sweep
