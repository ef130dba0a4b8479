#include "reduce/reduce.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/clock.hpp"
#include "base/files.hpp"
#include "record/schema.hpp"
#include "reduce/load.hpp"
#include "reduce/paper.hpp"
#include "reduce/statistics.hpp"
#include "reduce/tables.hpp"

namespace qsweep::reduce {
namespace {

namespace fs = std::filesystem;
namespace schema = record::schema;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::string_view better_name(schema::Better better) {
  return better == schema::Better::lower    ? "lower"
         : better == schema::Better::higher ? "higher"
                                            : "neither";
}

void fill_repeats(std::span<const double> values, bool deterministic, AggregateRow& row) {
  row.n = static_cast<int64_t>(values.size());
  row.mean = mean(values);
  row.sd = sd(values);
  // Repeats that must be the same bits say nothing of the spread; items do.
  const Interval interval = deterministic ? Interval{nan, nan} : student_interval(values);
  row.ci95_low = interval.low;
  row.ci95_high = interval.high;
  const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
  row.min = *smallest;
  row.max = *largest;
  row.median = median(values);
}

// Items whose mean varies from resample to resample, of the row they belong to.
struct Varying {
  size_t row;
  Items items;
};

// What needs no resampling; then true if the interval is still to come from the items that are
// left.
bool begin_items(Items& items, AggregateRow& row) {
  row.item_mean = row.item_ci95_low = row.item_ci95_high = nan;
  Items kept;
  for (size_t j = 0; j < items.values.size(); ++j) {
    const double weight = items.weights.empty() ? 1.0 : items.weights[j];
    if (!std::isfinite(items.values[j]) || !(weight >= 0)) return false;
    if (weight == 0) continue;
    kept.values.push_back(items.values[j]);
    kept.weights.push_back(weight);
  }
  items = std::move(kept);
  if (items.values.empty()) return false;
  row.item_n = static_cast<int64_t>(items.values.size());
  row.item_mean = weighted_mean(items.values, items.weights);
  if (items.values.size() < 2) return false;
  const auto [low, high] = std::minmax_element(items.values.begin(), items.values.end());
  if (*low != *high) return true;
  row.item_ci95_low = row.item_ci95_high = *low;  // every resample has the same mean
  return false;
}

// Metrics of a cell are mostly over the same items: those are resampled together.
void fill_intervals(std::vector<Varying> all, std::vector<AggregateRow>& rows) {
  while (!all.empty()) {
    const std::vector<double> weights = all.front().items.weights;
    const auto others = std::stable_partition(
        all.begin(), all.end(), [&](const Varying& one) { return one.items.weights == weights; });
    std::vector<std::vector<double>> columns;
    for (auto one = all.begin(); one != others; ++one)
      columns.push_back(std::move(one->items.values));
    std::vector<std::vector<double>> means = bootstrap_means_together(columns, weights);
    for (size_t k = 0; k < means.size(); ++k) {
      std::sort(means[k].begin(), means[k].end());
      rows[all[k].row].item_ci95_low = quantile_sorted(means[k], 0.025);
      rows[all[k].row].item_ci95_high = quantile_sorted(means[k], 0.975);
    }
    all.erase(all.begin(), others);
  }
}

// Rows of one config and cell: one per metric, and per protocol where repeats had different ones.
void aggregate_cell(const Observations& obs, size_t config, size_t cell,
                    std::vector<AggregateRow>& rows) {
  const std::vector<RunValues>& runs = obs.of(config, cell);
  std::vector<Varying> varying;
  for (size_t metric = 0; metric < schema::metrics().size(); ++metric) {
    std::map<std::string, std::vector<double>> by_protocol;
    for (const RunValues& run : runs) {
      if (!std::isnan(run.metrics[metric]))
        by_protocol[run.protocol_fingerprint].push_back(run.metrics[metric]);
    }
    const schema::MetricInfo& info = schema::metrics()[metric];
    for (const auto& [protocol, values] : by_protocol) {
      AggregateRow row;
      row.config = obs.configs[config];
      row.workload = obs.cells[cell].workload;
      row.lengths = obs.cells[cell].lengths;
      row.kind = obs.cells[cell].kind;
      row.metric = std::string(info.name);
      row.units = std::string(info.units);
      row.better = std::string(better_name(info.better));
      row.protocol_fingerprint = protocol;
      fill_repeats(values, info.deterministic, row);
      const bool lowest = protocol == runs.front().protocol_fingerprint;
      Items items = lowest && !info.items.empty() ? obs.items(config, cell, metric) : Items{};
      if (begin_items(items, row)) varying.push_back({rows.size(), std::move(items)});
      rows.push_back(std::move(row));
    }
  }
  fill_intervals(std::move(varying), rows);
}

void account(ReduceReport& report) {
  struct Span {
    CostRow row;
    double first = nan, last = nan;
  };
  std::map<int64_t, Span> ranks;
  for (const RunRow& run : report.runs) {
    if (std::isnan(run.seconds)) continue;
    Span& span = ranks[run.rank];
    span.row.rank = run.rank;
    ++span.row.runs;
    span.row.busy_s += run.seconds;
    span.row.predicted_s += run.predicted_s;
    span.first = std::fmin(span.first, utc_seconds(run.start));  // fmin and fmax pass over NaN
    span.last = std::fmax(span.last, utc_seconds(run.end));
    report.total_busy_s += run.seconds;
    report.total_predicted_s += run.predicted_s;
  }
  for (auto& [rank, span] : ranks) {
    span.row.span_s = span.last - span.first;
    report.cost.push_back(span.row);
  }
}

void count(ReduceReport& report) {
  for (const RunRow& run : report.runs) {
    report.ok += run.status == RunStatus::ok;
    report.failed += run.status == RunStatus::failed || run.status == RunStatus::unreadable;
    report.unreadable += run.status == RunStatus::unreadable;
    report.unproven += run.status == RunStatus::unproven;
    report.missing += run.status == RunStatus::missing;
  }
}

// The first A/A duplicate of the plan against its original.
std::vector<NoiseFloorRow> find_noise_floor(const sweep::PlanManifest& plan,
                                            const Observations& obs) {
  for (size_t i = 0; i < plan.duplicate_of.size() && i < plan.configs.size(); ++i) {
    const auto original = std::find(plan.configs.begin(), plan.configs.end(), plan.duplicate_of[i]);
    if (plan.duplicate_of[i].empty() || original == plan.configs.end()) continue;
    return noise_floor(obs, static_cast<size_t>(original - plan.configs.begin()), i);
  }
  return {};
}

size_t index_of(const std::vector<std::string>& names, const std::string& name) {
  return static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

// When the accepted runs of a cell were done; configs by their place in `obs`.
std::vector<RunMoment> moments_of(const ReduceReport& report, const Observations& obs,
                                  size_t cell) {
  std::vector<RunMoment> moments;
  for (const RunRow& run : report.runs) {
    const bool here = run.workload == obs.cells[cell].workload &&
                      run.lengths == obs.cells[cell].lengths && run.status == RunStatus::ok;
    const double start = utc_seconds(run.start);
    if (!here || std::isnan(start) || std::isnan(run.seconds)) continue;
    moments.push_back(
        {index_of(obs.configs, run.config), cell, run.repeat, run.rank, start + run.seconds / 2});
  }
  return moments;
}

// On the sentinels' cell.
std::vector<DriftRow> find_drift(const sweep::PlanManifest& plan, const ReduceReport& report,
                                 const Observations& obs) {
  const auto sentinel = std::find_if(plan.runs.begin(), plan.runs.end(),
                                     [](const auto& entry) { return entry.sentinel; });
  if (sentinel == plan.runs.end()) return {};
  const size_t duplicate = index_of(obs.configs, sentinel->config);
  const size_t original = index_of(obs.configs, plan.baseline);
  for (size_t cell = 0; cell < obs.cells.size(); ++cell) {
    if (obs.cells[cell].workload == sentinel->workload &&
        obs.cells[cell].lengths == sentinel->lengths) {
      return drift(obs, moments_of(report, obs, cell), original, duplicate, cell);
    }
  }
  return {};
}

}  // namespace

ReduceReport reduce(const fs::path& run_dir) {
  const sweep::PlanManifest plan = sweep::read_plan_manifest(run_dir / "manifests" / "plan.json");
  Loaded loaded = load(run_dir, plan);
  const Observations& obs = loaded.observations;

  ReduceReport report;
  report.study = plan.study;
  report.model = plan.model;
  report.baseline = plan.baseline;
  report.refusals = plan.refusals;
  report.runs = std::move(loaded.runs);
  count(report);
  account(report);
  for (size_t config = 0; config < obs.configs.size(); ++config) {
    for (size_t cell = 0; cell < obs.cells.size(); ++cell) {
      aggregate_cell(obs, config, cell, report.aggregate);
    }
  }
  report.claims = judge_claims(plan.claims, registered_claims(plan), obs);
  report.noise_floor = find_noise_floor(plan, obs);
  report.drift = find_drift(plan, report, obs);
  fill_paper(plan, obs, loaded.facts, report);

  write_file_atomic(run_dir / "aggregate.csv", to_csv(aggregate_table(report)));
  write_file_atomic(run_dir / "paper_table.csv", to_csv(paper_table(report)));
  write_sweep_file(run_dir / "sweep.h5", report);
  return report;
}

}  // namespace qsweep::reduce
