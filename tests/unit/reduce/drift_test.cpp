#include "reduce/drift.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "record/schema.hpp"

namespace qsweep::reduce {
namespace {

size_t metric_index(const std::string& name) {
  const auto metrics = record::schema::metrics();
  const auto found = std::find_if(metrics.begin(), metrics.end(),
                                  [&](const auto& metric) { return metric.name == name; });
  return static_cast<size_t>(found - metrics.begin());
}

// Baseline and duplicate on one profile cell.
struct World {
  Observations obs;
  std::vector<RunMoment> moments;
  World() {
    obs.configs = {"base", "copy"};
    obs.cells = {{"profile", "p1_o1", "profile"}};
    obs.runs.resize(2);
  }
  void add(size_t config, double hours, double tpot, int64_t rank = 0) {
    RunValues run;
    run.repeat = static_cast<int64_t>(obs.runs[config].size());
    run.metrics.assign(record::schema::metrics().size(), std::numeric_limits<double>::quiet_NaN());
    run.metrics[metric_index("profile.tpot_ms")] = tpot;
    run.metrics[metric_index("profile.weight_bytes")] = 100 + hours;  // deterministic: no row
    moments.push_back({config, 0, run.repeat, rank, 3600 * hours});
    obs.runs[config].push_back(run);
  }
};

TEST(Drift, SlopeByHand) {
  // Values 9, 10, 11 and once more 10 at 0, 1, 2, 1 h: mean 10, slope 1 / 10 an hour, residuals 0.
  World world;
  world.add(0, 0, 9);
  world.add(0, 1, 10, 1);
  world.add(1, 2, 11, 1);
  world.add(1, 1, 10);
  const std::vector<DriftRow> rows = drift(world.obs, world.moments, 0, 1, 0);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].metric, "profile.tpot_ms");
  EXPECT_EQ(rows[0].n, 4);
  EXPECT_NEAR(rows[0].per_hour, 0.1, 1e-12);
  EXPECT_NEAR(rows[0].over_sweep, 0.2, 1e-12);
  EXPECT_LT(rows[0].p, 1e-6);
  EXPECT_NEAR(rows[0].rank_deviation, 0.05, 1e-12) << "9 and 10 against 10 and 11";
}

TEST(Drift, NoiseAloneIsNoDrift) {
  // Values 10, 12, 10, 12 at 0..3 h, over the mean 11. t - 1.5 = -1.5, -0.5, 0.5, 1.5: sum t^2 = 5,
  // sum t y = 4/2 / 11 -> slope 0.4 / 11. Residuals of y * 11: -0.4, 1.2, -1.2, 0.4: sum of squares
  // 3.2, se = sqrt(3.2 / 2 / 5) / 11 = 0.56569 / 11; t_{0.975, 2} = 4.30265.
  World world;
  for (int hour = 0; hour < 4; ++hour) world.add(hour % 2, hour, hour % 2 == 0 ? 10 : 12);
  const std::vector<DriftRow> rows = drift(world.obs, world.moments, 0, 1, 0);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_NEAR(rows[0].per_hour, 0.4 / 11, 1e-12);
  EXPECT_NEAR(rows[0].ci95_low, (0.4 - 4.30265 * 0.56569) / 11, 1e-5);
  EXPECT_NEAR(rows[0].ci95_high, (0.4 + 4.30265 * 0.56569) / 11, 1e-5);
  // t = 0.70711 with 2 degrees of freedom: P(|T| > t) = 1 - t / sqrt(2 + t^2) = 0.55279.
  EXPECT_NEAR(rows[0].p, 0.55279, 1e-4);
  EXPECT_TRUE(std::isnan(rows[0].rank_deviation)) << "one rank";
}

TEST(Drift, TooLittleGivesNoRow) {
  World two;
  two.add(0, 0, 1);
  two.add(1, 1, 2);
  EXPECT_TRUE(drift(two.obs, two.moments, 0, 1, 0).empty());
  World at_once;
  for (int i = 0; i < 5; ++i) at_once.add(0, 1, i);
  EXPECT_TRUE(drift(at_once.obs, at_once.moments, 0, 1, 0).empty());
}

}  // namespace
}  // namespace qsweep::reduce
