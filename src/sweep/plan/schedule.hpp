// A plan shared out among ranks in simulated time, in words: how long it takes, how busy the ranks
// are, and what limits it.
#pragma once

#include <string>

#include "sweep/plan/plan.hpp"
#include "sweep/share/simulate.hpp"

namespace qsweep::sweep {

class Schedule {
 public:
  // Costs that were recorded stand in for those that were predicted, run by run.
  Schedule(const Plan& plan, int64_t ranks, const RecordedCosts& recorded);
  const Simulation& simulation() const { return simulation_; }
  std::string summary() const;  // of all ranks, a few lines
  std::string shares() const;   // a table of ranks; empty for one rank

 private:
  int64_t ranks_;
  SimulationInput input_;
  Simulation simulation_;
  size_t recorded_runs_ = 0;
  std::string recorded_folder_;
};

}  // namespace qsweep::sweep
