// The formulas of docs/statistics.md, on plain numbers. Nothing here knows of runs or files.
// Sources: Student (1908), Welch (1947), Schuirmann (1987) for TOST, Efron & Tibshirani (1993) for
// the bootstrap, McNemar (1947) with the exact binomial, Holm (1979).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace qsweep::reduce {

inline constexpr double alpha = 0.05;  // of every verdict
inline constexpr double power = 0.8;   // of the smallest detectable effect
inline constexpr size_t bootstrap_resamples = 10000;
inline constexpr uint64_t bootstrap_seed = 20260131;

struct Interval {
  double low, high;
};

double mean(std::span<const double> x);    // x[n]; NaN if n = 0; exactly x[0] if all are equal
double sd(std::span<const double> x);      // x[n], divisor n - 1; NaN if n < 2
double median(std::span<const double> x);  // x[n]; NaN if n = 0
// Linear interpolation at (n - 1) p of sorted[n] (Hyndman & Fan type 7, NumPy's default).
double quantile_sorted(std::span<const double> sorted, double p);

double student_quantile(double p, double df);  // t with P(T <= t) = p; df may be infinite
double student_below(double t, double df);     // P(T <= t)
double student_above(double t, double df);     // P(T > t)

// mean +- t_{(1+confidence)/2, n-1} sd / sqrt(n); NaN if n < 2.
Interval student_interval(std::span<const double> x, double confidence = 0.95);

// Difference of means a - b with unequal variances; df by Welch-Satterthwaite. Needs n >= 2 on both
// sides. Where neither side has spread, se is 0 and df is n_a + n_b - 2.
struct Welch {
  double difference, se, df;
  double p_less(double x) const;     // against a difference >= x
  double p_greater(double x) const;  // against a difference <= x
  double p_two_sided() const;        // against a difference of 0
  Interval interval(double confidence = 0.95) const;
};
Welch welch(std::span<const double> a, std::span<const double> b);

// Equivalence within +-margin: the larger of the two one-sided p-values.
double tost(const Welch& comparison, double margin);

// Item j of resample b among n: the upper 32 bits of splitmix64(seed + b 2^32 + j), multiplied by n
// and shifted right by 32. 0 < n < 2^32, j < 2^32.
uint32_t resample_index(uint64_t seed, uint64_t b, uint64_t j, uint32_t n);

// Weighted means sum w x / sum w of `resamples` resamples of the items x[n], w[n] (w empty: equal
// weights), in the order of b. Weights are positive. Bit-identical for any number of threads.
std::vector<double> bootstrap_means(std::span<const double> x, std::span<const double> w,
                                    size_t resamples = bootstrap_resamples,
                                    uint64_t seed = bootstrap_seed);
// The same of several columns over the same items, each [n]: the bits of one call each, at about
// the cost of one for three. Result [columns][resamples].
std::vector<std::vector<double>> bootstrap_means_together(
    std::span<const std::vector<double>> columns, std::span<const double> w,
    size_t resamples = bootstrap_resamples, uint64_t seed = bootstrap_seed);
double weighted_mean(std::span<const double> x, std::span<const double> w);

// Two-sided exact McNemar: b and c count the items that only the one and only the other got right.
double mcnemar_exact(int64_t b, int64_t c);

// Holm's adjusted p-values, in the order of p[m]. NaN (a claim without data) counts as 1 and stays
// NaN.
std::vector<double> holm(std::span<const double> p);

// The true effect that a test of size alpha finds with probability `power`: (q_test + q_power) se,
// with q_test = t_{1 - alpha / sides, df} and q_power = t_{power, df}; sides is 1 or 2.
double smallest_detectable(double se, double df, int sides);

}  // namespace qsweep::reduce
