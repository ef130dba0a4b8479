#include "reduce/statistics.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/rng.hpp"
#include "unit/reduce/golden.hpp"

namespace qsweep::reduce {
namespace {

using test::expect_close;
using test::golden;
using test::number;
using test::numbers;

TEST(Statistics, StudentIntervalAgreesWithSciPy) {
  const auto goldens = golden("statistics.json");
  for (const auto& g : goldens["student_interval"]) {
    const std::vector<double> x = numbers(g["x"]);
    expect_close(mean(x), g["mean"], "mean");
    expect_close(sd(x), g["sd"], "sd");
    expect_close(median(x), g["median"], "median");
    expect_close(student_interval(x).low, g["low"], "low");
    expect_close(student_interval(x).high, g["high"], "high");
  }
}

TEST(Statistics, WelchAndTostAgreeWithSciPy) {
  const auto goldens = golden("statistics.json");
  for (const auto& g : goldens["welch"]) {
    const Welch w = welch(numbers(g["a"]), numbers(g["b"]));
    expect_close(w.difference, g["difference"], "difference");
    expect_close(w.df, g["df"], "df");
    expect_close(w.p_two_sided(), g["p_two_sided"], "two-sided p");
    expect_close(w.interval().low, g["low"], "low");
    expect_close(w.interval().high, g["high"], "high");
    const double margin = g["margin"];
    expect_close(w.p_greater(-margin), g["p_above_minus_margin"], "p above -margin");
    expect_close(w.p_less(margin), g["p_below_margin"], "p below margin");
    expect_close(tost(w, margin), g["tost"], "TOST");
    expect_close(smallest_detectable(w.se, w.df, 1), g["detectable_one_sided"], "one-sided SDE");
    expect_close(smallest_detectable(w.se, w.df, 2), g["detectable_two_sided"], "two-sided SDE");
  }
}

TEST(Statistics, ColumnsResampledTogetherHaveTheBitsOfEachAlone) {
  std::vector<std::vector<double>> columns(5, std::vector<double>(37));  // two passes of three
  std::vector<double> weights(37);
  for (size_t j = 0; j < 37; ++j) {
    weights[j] = static_cast<double>(1 + splitmix64(j) % 9);
    for (size_t k = 0; k < columns.size(); ++k)
      columns[k][j] = 1e-3 * static_cast<double>(splitmix64(100 * k + j) % 4999);
  }
  for (const std::vector<double>& w : {weights, std::vector<double>()}) {
    const auto together = bootstrap_means_together(columns, w, 500);
    ASSERT_EQ(together.size(), columns.size());
    for (size_t k = 0; k < columns.size(); ++k)
      EXPECT_EQ(together[k], bootstrap_means(columns[k], w, 500)) << k;
  }
  EXPECT_TRUE(bootstrap_means_together({}, weights).empty());
  columns[4].pop_back();
  EXPECT_THROW(bootstrap_means_together(columns, weights), Error);
}

TEST(Statistics, BootstrapRepeatsTheStreamOfNumPy) {
  const auto goldens = golden("statistics.json");
  for (const auto& g : goldens["resample_index"]) {
    const uint64_t seed = std::stoull(g["seed"].get<std::string>());
    EXPECT_EQ(resample_index(seed, g["b"], g["j"], g["n"]), g["index"].get<uint32_t>()) << g;
  }
  for (const auto& g : goldens["bootstrap"]) {
    const std::vector<double> x = numbers(g["x"]), w = numbers(g["w"]);
    std::vector<double> means = bootstrap_means(x, w);
    ASSERT_EQ(means.size(), bootstrap_resamples);
    const std::vector<double> first = numbers(g["first"]);
    for (size_t b = 0; b < first.size(); ++b) expect_close(means[b], first[b], "resample");
    expect_close(means.back(), g["last"], "last resample");
    expect_close(weighted_mean(x, w), g["weighted_mean"], "weighted mean");
    if (x.size() > 1) expect_close(sd(means), g["sd"], "sd of resamples");
    std::sort(means.begin(), means.end());
    expect_close(quantile_sorted(means, 0.025), g["q025"], "2.5 %");
    expect_close(quantile_sorted(means, 0.975), g["q975"], "97.5 %");
  }
}

TEST(Statistics, McNemarAndHolmAgreeWithSciPy) {
  const auto goldens = golden("statistics.json");
  for (const auto& g : goldens["mcnemar"])
    expect_close(mcnemar_exact(g["b"], g["c"]), g["p"], "McNemar");
  for (const auto& g : goldens["holm"]) {
    const std::vector<double> adjusted = holm(numbers(g["p"])), expected = numbers(g["adjusted"]);
    ASSERT_EQ(adjusted.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) expect_close(adjusted[i], expected[i], "Holm");
  }
}

// t_{0.975, df} of printed tables, to the digits they have.
TEST(Statistics, StudentQuantilesOfPrintedTables) {
  EXPECT_NEAR(student_quantile(0.975, 2), 4.303, 5e-4);
  EXPECT_NEAR(student_quantile(0.975, 9), 2.262, 5e-4);
  EXPECT_NEAR(student_quantile(0.95, 4), 2.132, 5e-4);
  EXPECT_NEAR(student_quantile(0.975, std::numeric_limits<double>::infinity()), 1.960, 5e-4);
}

// Holm's step-down by hand: 0.005*4, 0.01*3, max(0.03*2), max(0.04*1, 0.06).
TEST(Statistics, HolmByHand) {
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005};
  const std::vector<double> adjusted = holm(p);
  EXPECT_DOUBLE_EQ(adjusted[0], 0.03);
  EXPECT_DOUBLE_EQ(adjusted[1], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[2], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[3], 0.02);
}

// 0.1 has no exact double, and a naive sum of three of them is not three times one: without care,
// equal samples would get a spread of rounding errors and a p-value of nothing.
TEST(Statistics, EqualNumbersHaveNoSpread) {
  const std::vector<double> x(3, 0.1), y(7, 0.1);
  EXPECT_EQ(mean(x), 0.1);
  EXPECT_EQ(sd(y), 0.0);
  const Welch w = welch(x, y);
  EXPECT_EQ(w.difference, 0.0);
  EXPECT_EQ(w.p_less(0), 1.0);
  EXPECT_EQ(w.p_greater(0), 1.0);
  EXPECT_EQ(w.p_less(0.01), 0.0);
}

TEST(Statistics, TooFewValuesGiveNoInterval) {
  const std::vector<double> one = {3.0};
  EXPECT_TRUE(std::isnan(sd(one)));
  EXPECT_TRUE(std::isnan(student_interval(one).low));
  EXPECT_TRUE(std::isnan(mean({})));
  EXPECT_TRUE(std::isnan(median({})));
}

// The share of 400 normal samples of 20 items whose 95 % interval holds the true mean. Binomial sd
// at 0.95 is 0.011; bootstrap intervals of 20 items are known to cover about 0.92, so [0.87, 0.98]
// is three sd around both.
TEST(Statistics, IntervalsCoverTheTruth) {
  uint64_t state = 1;
  const auto uniform = [&state] {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<double>(state >> 11) * 0x1.0p-53;
  };
  int student = 0, bootstrap = 0;
  constexpr int trials = 400;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> x(20);
    for (double& value : x) {
      value = std::sqrt(-2 * std::log(1 - uniform())) * std::cos(2 * M_PI * uniform());
    }
    const Interval t = student_interval(x);
    student += t.low < 0 && t.high > 0;
    std::vector<double> means = bootstrap_means(x, {}, 1000);
    std::sort(means.begin(), means.end());
    bootstrap += quantile_sorted(means, 0.025) < 0 && quantile_sorted(means, 0.975) > 0;
  }
  EXPECT_GT(student, 0.91 * trials);
  EXPECT_LT(student, 0.99 * trials);
  EXPECT_GT(bootstrap, 0.87 * trials);
  EXPECT_LT(bootstrap, 0.98 * trials);
}

}  // namespace
}  // namespace qsweep::reduce
