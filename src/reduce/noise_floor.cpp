#include "reduce/noise_floor.hpp"

#include <algorithm>
#include <cmath>

#include "record/schema.hpp"
#include "reduce/compare.hpp"

namespace qsweep::reduce {
namespace {

namespace schema = record::schema;

std::vector<double> values_of(const Observations& obs, size_t metric, size_t config, size_t cell) {
  std::vector<double> values;
  for (const RunValues& run : obs.of(config, cell)) {
    if (!std::isnan(run.metrics[metric])) values.push_back(run.metrics[metric]);
  }
  return values;
}

// A difference of zero is zero even relative to a baseline of zero.
double relative(double difference, double baseline) {
  return difference == 0 ? 0.0 : difference / std::abs(baseline);
}

double floor_of(const Comparison& comparison, double relative_difference, double baseline) {
  if (!comparison.problem.empty() || comparison.n < 2) return std::abs(relative_difference);
  const Interval interval = comparison.interval95();
  const auto share = [&](double d) {
    return std::abs(comparison.ratio ? std::expm1(d) : relative(d, baseline));
  };
  return std::max({std::abs(relative_difference), share(interval.low), share(interval.high)});
}

}  // namespace

std::vector<NoiseFloorRow> noise_floor(const Observations& obs, size_t original, size_t duplicate) {
  std::vector<NoiseFloorRow> rows;
  for (size_t cell = 0; cell < obs.cells.size(); ++cell) {
    for (size_t metric = 0; metric < schema::metrics().size(); ++metric) {
      const std::vector<double> base = values_of(obs, metric, original, cell);
      const std::vector<double> twin = values_of(obs, metric, duplicate, cell);
      if (base.empty() || twin.empty()) continue;
      NoiseFloorRow row;
      row.metric = std::string(schema::metrics()[metric].name);
      row.workload = obs.cells[cell].workload;
      row.lengths = obs.cells[cell].lengths;
      row.baseline_mean = mean(base);
      row.duplicate_mean = mean(twin);
      row.relative_difference = relative(row.duplicate_mean - row.baseline_mean, row.baseline_mean);
      row.n = static_cast<int64_t>(std::min(base.size(), twin.size()));
      row.floor = floor_of(compare(obs, metric, duplicate, original, {cell}),
                           row.relative_difference, row.baseline_mean);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace qsweep::reduce
