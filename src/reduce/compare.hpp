// Two configs compared on one metric over some cells: d = A - B, in logs where the metric is a
// ratio.
//   repeats carry the spread  y_r = mean over cells of (ln) value at repeat r; Welch on y
//   items carry the spread    d = sum w (a - b) / sum w over the paired items of all cells;
//   bootstrap nothing spreads           d is exact
#pragma once

#include <string>
#include <vector>

#include "record/schema.hpp"
#include "reduce/observations.hpp"
#include "reduce/statistics.hpp"

namespace qsweep::reduce {

enum class Spread { welch, bootstrap, exact };

// Whether a difference on the bound itself counts as beyond it. It only matters where the
// difference is exact.
enum class Edge { open, closed };

struct Comparison {
  std::string problem;  // why there is no comparison, or empty; then only `note` counts
  std::string note;
  Spread spread = Spread::exact;
  Welch repeats{0, 0, 0};         // welch, exact (difference alone)
  std::vector<double> resampled;  // bootstrap: d*, ascending
  double difference = 0;          // log ratio or units of the metric
  double mean_a = 0, mean_b = 0;  // arithmetic; geometric for ratio metrics
  size_t n = 0;                   // repeats of the smaller side, items, or cells
  bool ratio = false;             // difference is ln(A / B)

  double p_less(double bound, Edge edge = Edge::open) const;     // against d >= bound
  double p_greater(double bound, Edge edge = Edge::open) const;  // against d <= bound
  Interval interval95() const;                                   // of d
  double detectable(int sides) const;  // smallest detectable |d|; NaN if exact
  std::string test() const;            // name
};

// `cells` are indices of obs.cells.
Comparison compare(const Observations& obs, size_t metric, size_t a, size_t b,
                   const std::vector<size_t>& cells);

// The arithmetic of the three branches, for any metric. a[n_a], b[n_b]: one y per repeat, already
// in logs for ratios.
Comparison compare_repeats(const std::vector<double>& a, const std::vector<double>& b, bool ratio);
// a[n], b[n], w[n] (or empty): paired items.
Comparison compare_items(const std::vector<double>& a, const std::vector<double>& b,
                         const std::vector<double>& w);
// a and b: mean over cells of (ln) value.
Comparison compare_exact(double a, double b, size_t n_cells, bool ratio);

// One y per repeat at which all of `cells` have the metric, by ascending repeat. Ratio metrics that
// are not positive give NaN.
struct RepeatMeans {
  std::vector<int64_t> repeats;
  std::vector<double> y;
};
RepeatMeans repeat_means(const Observations& obs, size_t metric, size_t config,
                         const std::vector<size_t>& cells);

// Why the repeats of a deterministic metric are not the same bits in a cell, or empty.
std::string determinism_problem(const Observations& obs, size_t metric, size_t config, size_t cell);

}  // namespace qsweep::reduce
