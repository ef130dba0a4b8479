#include "reduce/statistics.hpp"

#include <algorithm>
#include <array>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "base/rng.hpp"

namespace qsweep::reduce {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// p-value of a difference without spread: decided, or undecided exactly on the bound.
double sure(bool holds) {
  return holds ? 0.0 : 1.0;
}

// What an item adds to the sums of a resample: w, w x of up to three columns. Four doubles are two
// additions of two lanes, and an index costs more than both, so three means cost what one does.
using ItemRow = std::array<double, 4>;

std::vector<ItemRow> rows_of(std::span<const std::vector<double>> columns,
                             std::span<const double> w) {
  const size_t n = columns.front().size();
  expect(n > 0 && n < (uint64_t{1} << 32) && (w.empty() || w.size() == n),
         "a bootstrap has items and one weight each");
  for (const std::vector<double>& column : columns)
    expect(column.size() == n, "columns that are resampled together have the same items");
  std::vector<ItemRow> rows(n, ItemRow{});
  for (size_t j = 0; j < n; ++j) {
    rows[j][0] = w.empty() ? 1.0 : w[j];
    for (size_t k = 0; k < columns.size(); ++k) rows[j][k + 1] = rows[j][0] * columns[k][j];
  }
  return rows;
}

// Sums of rows over every resample, [resamples]. Every resample is a function of b alone, so
// threads change nothing but the time.
std::vector<ItemRow> resampled_sums(const std::vector<ItemRow>& rows, size_t resamples,
                                    uint64_t seed) {
  const auto n = static_cast<uint32_t>(rows.size());
  std::vector<ItemRow> sums(resamples);
#pragma omp parallel for schedule(static)
  for (size_t b = 0; b < resamples; ++b) {
    ItemRow sum{};
    for (uint32_t j = 0; j < n; ++j) {
      const ItemRow& row = rows[resample_index(seed, b, j, n)];
      for (size_t k = 0; k < sum.size(); ++k) sum[k] += row[k];
    }
    sums[b] = sum;
  }
  return sums;
}

}  // namespace

double mean(std::span<const double> x) {
  if (x.empty()) return nan;
  // Summing offsets from x[0] makes the mean of equal numbers exact, so that no spread stays no
  // spread.
  double offset = 0;
  for (const double value : x) offset += value - x[0];
  return x[0] + offset / static_cast<double>(x.size());
}

double sd(std::span<const double> x) {
  if (x.size() < 2) return nan;
  const double centre = mean(x);
  double squares = 0;
  for (const double value : x) squares += (value - centre) * (value - centre);
  return std::sqrt(squares / static_cast<double>(x.size() - 1));
}

double median(std::span<const double> x) {
  std::vector<double> sorted(x.begin(), x.end());
  std::sort(sorted.begin(), sorted.end());
  return quantile_sorted(sorted, 0.5);
}

double quantile_sorted(std::span<const double> sorted, double p) {
  if (sorted.empty()) return nan;
  const double place = p * static_cast<double>(sorted.size() - 1);
  const size_t below = std::min(static_cast<size_t>(place), sorted.size() - 1);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

double student_quantile(double p, double df) {
  if (std::isinf(df)) return boost::math::quantile(boost::math::normal(), p);
  return boost::math::quantile(boost::math::students_t(df), p);
}

double student_below(double t, double df) {
  if (std::isnan(t)) return nan;
  if (std::isinf(t)) return t < 0 ? 0.0 : 1.0;
  if (std::isinf(df)) return boost::math::cdf(boost::math::normal(), t);
  return boost::math::cdf(boost::math::students_t(df), t);
}

double student_above(double t, double df) {
  return student_below(-t, df);
}

Interval student_interval(std::span<const double> x, double confidence) {
  if (x.size() < 2) return {nan, nan};
  const double n = static_cast<double>(x.size());
  const double half = student_quantile((1 + confidence) / 2, n - 1) * sd(x) / std::sqrt(n);
  return {mean(x) - half, mean(x) + half};
}

double Welch::p_less(double x) const {
  return se > 0 ? student_below((difference - x) / se, df) : sure(difference < x);
}

double Welch::p_greater(double x) const {
  return se > 0 ? student_above((difference - x) / se, df) : sure(difference > x);
}

double Welch::p_two_sided() const {
  return se > 0 ? 2 * student_below(-std::abs(difference) / se, df) : sure(difference != 0);
}

Interval Welch::interval(double confidence) const {
  const double half = se > 0 ? student_quantile((1 + confidence) / 2, df) * se : 0.0;
  return {difference - half, difference + half};
}

Welch welch(std::span<const double> a, std::span<const double> b) {
  expect(a.size() >= 2 && b.size() >= 2, "Welch's test has two samples of at least two values");
  const double n_a = static_cast<double>(a.size()), n_b = static_cast<double>(b.size());
  const double v_a = sd(a) * sd(a) / n_a, v_b = sd(b) * sd(b) / n_b;
  const double variance = v_a + v_b;
  double df = n_a + n_b - 2;
  if (variance > 0) {
    // Shares of the variance instead of the variances: their squares cannot underflow.
    const double s_a = v_a / variance, s_b = v_b / variance;
    df = 1 / (s_a * s_a / (n_a - 1) + s_b * s_b / (n_b - 1));
  }
  return {mean(a) - mean(b), std::sqrt(variance), df};
}

double tost(const Welch& comparison, double margin) {
  return std::max(comparison.p_greater(-margin), comparison.p_less(margin));
}

uint32_t resample_index(uint64_t seed, uint64_t b, uint64_t j, uint32_t n) {
  const uint64_t hash = splitmix64(seed + (b << 32) + j);
  return static_cast<uint32_t>(((hash >> 32) * n) >> 32);
}

double weighted_mean(std::span<const double> x, std::span<const double> w) {
  double sum = 0, weight = 0;
  for (size_t j = 0; j < x.size(); ++j) {
    const double w_j = w.empty() ? 1.0 : w[j];
    sum += w_j * x[j];
    weight += w_j;
  }
  return sum / weight;
}

std::vector<std::vector<double>> bootstrap_means_together(
    std::span<const std::vector<double>> columns, std::span<const double> w, size_t resamples,
    uint64_t seed) {
  std::vector<std::vector<double>> means;
  constexpr size_t at_once = std::tuple_size_v<ItemRow> - 1;
  for (size_t first = 0; first < columns.size(); first += at_once) {
    const auto part = columns.subspan(first, std::min(at_once, columns.size() - first));
    const std::vector<ItemRow> sums = resampled_sums(rows_of(part, w), resamples, seed);
    for (size_t k = 0; k < part.size(); ++k) {
      std::vector<double>& column = means.emplace_back(resamples);
      for (size_t b = 0; b < resamples; ++b) column[b] = sums[b][k + 1] / sums[b][0];
    }
  }
  return means;
}

std::vector<double> bootstrap_means(std::span<const double> x, std::span<const double> w,
                                    size_t resamples, uint64_t seed) {
  const std::vector<double> column(x.begin(), x.end());
  return std::move(bootstrap_means_together({&column, 1}, w, resamples, seed).front());
}

double mcnemar_exact(int64_t b, int64_t c) {
  expect(b >= 0 && c >= 0, "McNemar's counts are not negative");
  if (b + c == 0) return 1;
  const boost::math::binomial coin(static_cast<double>(b + c), 0.5);
  return std::min(1.0, 2 * boost::math::cdf(coin, static_cast<double>(std::min(b, c))));
}

std::vector<double> holm(std::span<const double> p) {
  const auto value = [&](size_t i) { return std::isnan(p[i]) ? 1.0 : p[i]; };
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t i, size_t k) { return value(i) < value(k); });
  std::vector<double> adjusted(p.size());
  double running = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const size_t i = order[rank];
    running = std::max(running, std::min(1.0, static_cast<double>(p.size() - rank) * value(i)));
    adjusted[i] = std::isnan(p[i]) ? nan : running;
  }
  return adjusted;
}

double smallest_detectable(double se, double df, int sides) {
  return (student_quantile(1 - alpha / sides, df) + student_quantile(power, df)) * se;
}

}  // namespace qsweep::reduce
