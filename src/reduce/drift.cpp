#include "reduce/drift.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "record/schema.hpp"
#include "reduce/statistics.hpp"

namespace qsweep::reduce {
namespace {

namespace schema = record::schema;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct Sample {
  double hours, value;
  int64_t rank;
};

std::vector<Sample> samples_of(const Observations& obs, const std::vector<RunMoment>& moments,
                               size_t metric) {
  std::vector<Sample> samples;
  for (const RunMoment& moment : moments) {
    for (const RunValues& run : obs.of(moment.config, moment.cell)) {
      if (run.repeat != moment.repeat || std::isnan(run.metrics[metric])) continue;
      samples.push_back({moment.seconds / 3600, run.metrics[metric], moment.rank});
    }
  }
  return samples;
}

// y = a + b (t - mean t) by least squares; y is the relative value.
struct Line {
  double slope, se;
};

Line fit(const std::vector<Sample>& samples, double mean_hours) {
  double tt = 0, ty = 0, y_sum = 0;
  for (const Sample& s : samples) {
    tt += (s.hours - mean_hours) * (s.hours - mean_hours);
    ty += (s.hours - mean_hours) * s.value;
    y_sum += s.value;
  }
  const auto n = static_cast<double>(samples.size());
  const double slope = ty / tt, y_mean = y_sum / n;
  double residual = 0;
  for (const Sample& s : samples) {
    const double error = s.value - y_mean - slope * (s.hours - mean_hours);
    residual += error * error;
  }
  return {slope, std::sqrt(residual / (n - 2) / tt)};
}

double largest_rank_deviation(const std::vector<Sample>& samples) {
  std::map<int64_t, std::vector<double>> by_rank;
  double sum = 0;
  for (const Sample& s : samples) {
    by_rank[s.rank].push_back(s.value);
    sum += s.value;
  }
  if (by_rank.size() < 2) return nan;
  double largest = 0;
  for (const auto& [rank, values] : by_rank) {
    largest = std::max(largest, std::abs(mean(values) - sum / static_cast<double>(samples.size())));
  }
  return largest;
}

}  // namespace

std::vector<DriftRow> drift(const Observations& obs, const std::vector<RunMoment>& all,
                            size_t original, size_t duplicate, size_t cell) {
  std::vector<RunMoment> moments;
  std::copy_if(all.begin(), all.end(), std::back_inserter(moments), [&](const RunMoment& moment) {
    return moment.cell == cell && (moment.config == original || moment.config == duplicate);
  });
  std::vector<DriftRow> rows;
  for (size_t metric = 0; metric < schema::metrics().size(); ++metric) {
    const schema::MetricInfo& info = schema::metrics()[metric];
    if (info.deterministic) continue;
    std::vector<Sample> samples = samples_of(obs, moments, metric);
    if (samples.size() < 3) continue;
    double first = samples.front().hours, last = first, hours = 0, sum = 0;
    for (const Sample& s : samples) {
      first = std::min(first, s.hours);
      last = std::max(last, s.hours);
      hours += s.hours;
      sum += s.value;
    }
    const auto n = static_cast<double>(samples.size());
    if (last <= first || sum == 0) continue;
    for (Sample& s : samples) s.value /= std::abs(sum / n);
    const Line line = fit(samples, hours / n);
    const double t = student_quantile(0.975, n - 2);
    DriftRow row;
    row.metric = std::string(info.name);
    row.workload = obs.cells[cell].workload;
    row.lengths = obs.cells[cell].lengths;
    row.n = static_cast<int64_t>(samples.size());
    row.span_h = last - first;
    row.per_hour = line.slope;
    row.ci95_low = line.slope - t * line.se;
    row.ci95_high = line.slope + t * line.se;
    row.p = line.se > 0 ? 2 * student_above(std::abs(line.slope) / line.se, n - 2)
                        : (line.slope == 0 ? 1.0 : 0.0);
    row.over_sweep = line.slope * row.span_h;
    row.rank_deviation = largest_rank_deviation(samples);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace qsweep::reduce
