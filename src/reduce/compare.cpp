#include "reduce/compare.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace qsweep::reduce {
namespace {

namespace schema = record::schema;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Comparison no_comparison(std::string problem) {
  Comparison none;
  none.problem = std::move(problem);
  none.difference = none.mean_a = none.mean_b = nan;
  return none;
}

std::string cell_name(const CellKey& cell) {
  return cell.workload + "/" + cell.lengths;
}

bool same_bits(double a, double b) {
  return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

bool is_binary(const std::vector<double>& x) {
  return std::all_of(x.begin(), x.end(), [](double value) { return value == 0 || value == 1; });
}

// Why the two configs cannot be paired in a cell on a deterministic metric, or empty.
std::string pairing_problem(const Observations& obs, size_t metric, size_t a, size_t b,
                            size_t cell) {
  for (const size_t config : {a, b}) {
    const std::vector<RunValues>& runs = obs.of(config, cell);
    if (runs.empty() || std::isnan(runs.front().metrics[metric])) {
      return fmt::format("no accepted value of {} in {}", obs.configs[config],
                         cell_name(obs.cells[cell]));
    }
    const std::string problem = determinism_problem(obs, metric, config, cell);
    if (!problem.empty()) return problem;
  }
  if (obs.of(a, cell).front().protocol_fingerprint !=
      obs.of(b, cell).front().protocol_fingerprint) {
    return fmt::format("protocols of {} and {} differ in {}", obs.configs[a], obs.configs[b],
                       cell_name(obs.cells[cell]));
  }
  return {};
}

Comparison compare_paired_items(const Observations& obs, size_t metric, size_t a, size_t b,
                                const std::vector<size_t>& cells) {
  Items all_a, all_b;
  for (const size_t cell : cells) {
    const Items of_a = obs.items(a, cell, metric), of_b = obs.items(b, cell, metric);
    const std::string where = cell_name(obs.cells[cell]);
    if (of_a.values.empty() || of_b.values.empty()) return no_comparison("no items in " + where);
    if (of_a.values.size() != of_b.values.size() || of_a.weights != of_b.weights) {
      return no_comparison("items do not pair in " + where);
    }
    for (size_t j = 0; j < of_a.values.size(); ++j) {
      const double weight = of_a.weights.empty() ? 1.0 : of_a.weights[j];
      if (!std::isfinite(of_a.values[j]) || !std::isfinite(of_b.values[j]) || !(weight >= 0)) {
        return no_comparison("items are not finite in " + where);
      }
      if (weight == 0) continue;  // says nothing, and a resample of nothing else would have no mean
      all_a.values.push_back(of_a.values[j]);
      all_b.values.push_back(of_b.values[j]);
      all_a.weights.push_back(weight);
    }
  }
  if (all_a.values.size() < 2) return no_comparison("fewer than two items");
  return compare_items(all_a.values, all_b.values, all_a.weights);
}

Comparison compare_numbers(const Observations& obs, size_t metric, size_t a, size_t b,
                           const std::vector<size_t>& cells, bool ratio) {
  const auto mean_of = [&](size_t config) {
    std::vector<double> values;
    for (const size_t cell : cells) {
      const double value = obs.of(config, cell).front().metrics[metric];
      values.push_back(ratio ? std::log(value) : value);
    }
    return mean(values);
  };
  const double y_a = mean_of(a), y_b = mean_of(b);
  if (!std::isfinite(y_a) || !std::isfinite(y_b))
    return no_comparison("values are not positive and finite");
  return compare_exact(y_a, y_b, cells.size(), ratio);
}

// Repeats that both have, so that drift and outages fall on both alike.
Comparison compare_over_repeats(const Observations& obs, size_t metric, size_t a, size_t b,
                                const std::vector<size_t>& cells, bool ratio) {
  const RepeatMeans of_a = repeat_means(obs, metric, a, cells),
                    of_b = repeat_means(obs, metric, b, cells);
  std::vector<double> y_a, y_b;
  for (size_t i = 0; i < of_a.repeats.size(); ++i) {
    const auto found = std::lower_bound(of_b.repeats.begin(), of_b.repeats.end(), of_a.repeats[i]);
    if (found == of_b.repeats.end() || *found != of_a.repeats[i]) continue;
    y_a.push_back(of_a.y[i]);
    y_b.push_back(of_b.y[static_cast<size_t>(found - of_b.repeats.begin())]);
  }
  if (y_a.size() < 2) {
    return no_comparison(fmt::format("{} of at least 2 repeats have every cell of {} and {}",
                                     y_a.size(), obs.configs[a], obs.configs[b]));
  }
  const auto finite = [](double y) { return std::isfinite(y); };
  if (!std::all_of(y_a.begin(), y_a.end(), finite) ||
      !std::all_of(y_b.begin(), y_b.end(), finite)) {
    return no_comparison(ratio ? "values are not positive and finite" : "values are not finite");
  }
  return compare_repeats(y_a, y_b, ratio);
}

}  // namespace

double Comparison::p_less(double bound, Edge edge) const {
  if (spread == Spread::exact) {
    return (edge == Edge::closed ? difference <= bound : difference < bound) ? 0.0 : 1.0;
  }
  if (spread == Spread::welch) return repeats.p_less(bound);
  const auto at_least = std::lower_bound(resampled.begin(), resampled.end(), bound);
  const auto count = static_cast<double>(resampled.end() - at_least);  // d* >= bound
  return (1 + count) / (static_cast<double>(resampled.size()) + 1);
}

double Comparison::p_greater(double bound, Edge edge) const {
  if (spread == Spread::exact) {
    return (edge == Edge::closed ? difference >= bound : difference > bound) ? 0.0 : 1.0;
  }
  if (spread == Spread::welch) return repeats.p_greater(bound);
  const auto beyond = std::upper_bound(resampled.begin(), resampled.end(), bound);
  const auto count = static_cast<double>(beyond - resampled.begin());  // d* <= bound
  return (1 + count) / (static_cast<double>(resampled.size()) + 1);
}

Interval Comparison::interval95() const {
  if (spread == Spread::exact) return {difference, difference};
  if (spread == Spread::welch) return repeats.interval(0.95);
  return {quantile_sorted(resampled, 0.025), quantile_sorted(resampled, 0.975)};
}

double Comparison::detectable(int sides) const {
  if (spread == Spread::exact) return nan;
  if (spread == Spread::welch) return smallest_detectable(repeats.se, repeats.df, sides);
  // The spread of d* is the standard error; many items, so normal quantiles.
  return smallest_detectable(sd(resampled), std::numeric_limits<double>::infinity(), sides);
}

std::string Comparison::test() const {
  return spread == Spread::welch       ? "Welch t"
         : spread == Spread::bootstrap ? "paired bootstrap"
                                       : "exact";
}

Comparison compare_repeats(const std::vector<double>& a, const std::vector<double>& b, bool ratio) {
  Comparison result;
  result.repeats = welch(a, b);
  result.spread = Spread::welch;
  if (result.repeats.se == 0) {
    result.spread = Spread::exact;
    result.note = "no spread over repeats: compared exactly";
  }
  result.difference = result.repeats.difference;
  result.mean_a = ratio ? std::exp(mean(a)) : mean(a);
  result.mean_b = ratio ? std::exp(mean(b)) : mean(b);
  result.n = std::min(a.size(), b.size());
  result.ratio = ratio;
  return result;
}

Comparison compare_items(const std::vector<double>& a, const std::vector<double>& b,
                         const std::vector<double>& w) {
  expect(a.size() == b.size() && !a.empty(), "paired items");
  Comparison result;
  result.spread = Spread::bootstrap;
  std::vector<double> difference(a.size());
  int64_t only_a = 0, only_b = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    difference[j] = a[j] - b[j];
    only_a += difference[j] > 0 ? 1 : 0;
    only_b += difference[j] < 0 ? 1 : 0;
  }
  result.difference = weighted_mean(difference, w);
  result.mean_a = weighted_mean(a, w);
  result.mean_b = weighted_mean(b, w);
  result.n = a.size();
  if (only_a + only_b == 0) {
    result.note = "every item is identical";
    result.resampled.assign(bootstrap_resamples, 0.0);  // what the bootstrap would give
    return result;
  }
  result.resampled = bootstrap_means(difference, w);
  std::sort(result.resampled.begin(), result.resampled.end());
  if (is_binary(a) && is_binary(b)) {
    result.note = fmt::format("McNemar exact p = {:.4g} ({} and {} discordant items)",
                              mcnemar_exact(only_a, only_b), only_a, only_b);
  }
  return result;
}

Comparison compare_exact(double a, double b, size_t n_cells, bool ratio) {
  Comparison result;
  result.difference = a - b;
  result.repeats.difference = a - b;
  result.mean_a = ratio ? std::exp(a) : a;
  result.mean_b = ratio ? std::exp(b) : b;
  result.n = n_cells;
  result.ratio = ratio;
  return result;
}

RepeatMeans repeat_means(const Observations& obs, size_t metric, size_t config,
                         const std::vector<size_t>& cells) {
  const bool ratio = schema::metrics()[metric].scale == schema::Scale::ratio;
  std::map<int64_t, std::vector<double>> values;  // repeat -> one value per cell that has it
  for (const size_t cell : cells) {
    for (const RunValues& run : obs.of(config, cell)) {
      const double value = run.metrics[metric];
      if (!std::isnan(value)) values[run.repeat].push_back(ratio ? std::log(value) : value);
    }
  }
  RepeatMeans means;
  for (const auto& [repeat, y] : values) {
    if (y.size() != cells.size()) continue;
    means.repeats.push_back(repeat);
    means.y.push_back(mean(y));
  }
  return means;
}

std::string determinism_problem(const Observations& obs, size_t metric, size_t config,
                                size_t cell) {
  const std::vector<RunValues>& runs = obs.of(config, cell);
  const auto digest = [&](const RunValues& run) {
    const auto found = run.items_digest.find(metric);
    return found == run.items_digest.end() ? std::string() : found->second;
  };
  for (const RunValues& run : runs) {
    if (std::isnan(run.metrics[metric])) continue;  // not measured
    const RunValues& first = runs.front();
    if (!same_bits(run.metrics[metric], first.metrics[metric]) || digest(run) != digest(first) ||
        run.protocol_fingerprint != first.protocol_fingerprint) {
      return fmt::format("determinism violated: repeats {} and {} of {} differ in {}", first.repeat,
                         run.repeat, obs.configs[config], cell_name(obs.cells[cell]));
    }
  }
  return {};
}

Comparison compare(const Observations& obs, size_t metric, size_t a, size_t b,
                   const std::vector<size_t>& cells) {
  const schema::MetricInfo& info = schema::metrics()[metric];
  const bool ratio = info.scale == schema::Scale::ratio;
  if (cells.empty()) return no_comparison("the plan has no cell with this metric");
  if (!info.deterministic) return compare_over_repeats(obs, metric, a, b, cells, ratio);
  for (const size_t cell : cells) {
    std::string problem = pairing_problem(obs, metric, a, b, cell);
    if (!problem.empty()) return no_comparison(std::move(problem));
  }
  if (!info.items.empty()) return compare_paired_items(obs, metric, a, b, cells);
  return compare_numbers(obs, metric, a, b, cells, ratio);
}

}  // namespace qsweep::reduce
