#include "sweep/share/simulate.hpp"

#include <gtest/gtest.h>

#include "unit/sweep/items.hpp"

namespace qsweep::sweep {
namespace {

SimulationInput input_of(std::vector<ShareItem> items, int64_t ranks) {
  SimulationInput input;
  input.items = std::move(items);
  input.ranks = ranks;
  input.seed = 1;
  return input;
}

TEST(Simulate, TwoRanksShareByHand) {
  // Largest first: rank 0 gets 3 then 1, rank 1 gets 2 then 2.
  const Simulation simulation = simulate(input_of(of_costs({1, 2, 3, 2}), 2));
  EXPECT_DOUBLE_EQ(simulation.makespan, 4.0);
  EXPECT_DOUBLE_EQ(simulation.busy, 8.0);
  EXPECT_DOUBLE_EQ(simulation.efficiency(), 1.0);
  EXPECT_DOUBLE_EQ(simulation.queue_empty, 3.0);
  EXPECT_DOUBLE_EQ(simulation.busy_until_empty, 1.0);
  EXPECT_DOUBLE_EQ(simulation.longest_run, 3.0);
  EXPECT_EQ(simulation.longest, 2u);
}

TEST(Simulate, LoadingAConfigCosts) {
  const std::vector<ShareItem> items = {{0, 0, 0, 0, 1}, {1, 1, 0, 0, 1}, {2, 1, 1, 0, 1}};
  SimulationInput input = input_of(items, 1);
  input.load_seconds = 10;
  EXPECT_DOUBLE_EQ(simulate(input).makespan, 23.0);
  EXPECT_DOUBLE_EQ(simulate(input).loads, 20.0);
}

TEST(Simulate, ARankForgetsWhatItsMemoryDoesNotHold) {
  // Two configs in turn, block by block, on a rank that holds one.
  SimulationInput input = input_of(grid(2, 1, 3), 1);
  input.load_seconds = 10;
  input.resident_configs = 1;
  const Simulation simulation = simulate(input);
  EXPECT_LT(simulation.loads, 60.0) << "affinity crosses blocks within the window";
  EXPECT_GE(simulation.loads, 20.0);
  input.resident_configs = 2;
  EXPECT_DOUBLE_EQ(simulate(input).loads, 20.0);
}

TEST(Simulate, RequestsWaitForEachOther) {
  // Four ranks ask at once; rank 0 needs 0.5 s an answer: they start at 0.5, 1, 1.5, 2.
  SimulationInput input = input_of(of_costs({1, 1, 1, 1}), 4);
  input.answer_seconds = 0.5;
  const Simulation simulation = simulate(input);
  EXPECT_DOUBLE_EQ(simulation.makespan, 3.0);
  EXPECT_DOUBLE_EQ(simulation.waits, 0.5 + 1 + 1.5 + 2);
}

TEST(Simulate, RecordedCostsStandInForPredictedOnes) {
  SimulationInput input = input_of(of_costs({1, 1}), 1);
  input.seconds_of = [](const ShareItem& item) { return item.run == 0 ? 5.0 : 2.0; };
  EXPECT_DOUBLE_EQ(simulate(input).makespan, 7.0);
}

TEST(Simulate, NothingToRun) {
  const Simulation simulation = simulate(input_of({}, 3));
  EXPECT_DOUBLE_EQ(simulation.makespan, 0.0);
  EXPECT_DOUBLE_EQ(simulation.efficiency(), 1.0);
}

TEST(Simulate, SaysWhatLimits) {
  SimulationInput input = input_of(of_costs({10, 1, 1}), 4);
  const std::string text = what_limits(simulate(input), input);
  EXPECT_NE(text.find("30 % of the rank-time is work"), std::string::npos) << text;
  EXPECT_NE(text.find("70 % idle at the end"), std::string::npos) << text;
  EXPECT_NE(text.find("the longest run, 10.0 s"), std::string::npos) << text;
}

}  // namespace
}  // namespace qsweep::sweep
