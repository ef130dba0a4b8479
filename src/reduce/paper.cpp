#include "reduce/paper.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <span>

#include "record/schema.hpp"
#include "reduce/compare.hpp"

namespace qsweep::reduce {
namespace {

namespace schema = record::schema;
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

enum class Pool {
  over_cells,
  quality
};  // mean over the common cells, or the first perplexity cell alone

struct Spec {
  const char* name;
  const char* metric;
  Pool pool;
  bool always;  // a column even where the plan has no such workload
};
constexpr Spec specs[] = {
    {"weight_bytes", "profile.weight_bytes", Pool::over_cells, true},
    {"nll", "perplexity.nll", Pool::quality, true},
    {"ppl", "perplexity.ppl", Pool::quality, true},
    {"kl", "perplexity.kl", Pool::quality, true},
    {"ttft_ms", "profile.ttft_ms", Pool::over_cells, true},
    {"tpot_ms", "profile.tpot_ms", Pool::over_cells, true},
    {"synthetic_value", "synthetic.value", Pool::over_cells, false},
    {"synthetic_seconds", "synthetic.seconds", Pool::over_cells, false},
};

size_t metric_index(const char* name) {
  return static_cast<size_t>(schema::find_metric(name) - schema::metrics().data());
}

std::string kind_of(const Spec& spec) {
  const std::string metric = spec.metric;
  return metric.substr(0, metric.find('.'));
}

std::vector<size_t> common_cells(const Observations& obs, const std::string& kind) {
  std::vector<size_t> cells;
  for (size_t cell = 0; cell < obs.cells.size(); ++cell) {
    bool common = obs.cells[cell].kind == kind;
    for (size_t config = 0; config < obs.configs.size(); ++config) {
      common = common && obs.planned[obs.at(config, cell)] != 0;
    }
    if (common) cells.push_back(cell);
  }
  return cells;
}

// Kind of workload -> its cells that the plan has for every config.
std::map<std::string, std::vector<size_t>> cells_by_kind(const Observations& obs) {
  std::map<std::string, std::vector<size_t>> cells;
  for (const Spec& spec : specs) cells.try_emplace(kind_of(spec), common_cells(obs, kind_of(spec)));
  return cells;
}

bool has_kind(const Observations& obs, const std::string& kind) {
  return std::any_of(obs.cells.begin(), obs.cells.end(),
                     [&](const CellKey& cell) { return cell.kind == kind; });
}

Figure figure_over_cells(const Observations& obs, size_t metric, size_t config,
                         const std::vector<size_t>& cells) {
  const schema::MetricInfo& info = schema::metrics()[metric];
  if (cells.empty()) return {nan, nan, nan};
  const std::vector<double> y = repeat_means(obs, metric, config, cells).y;
  if (y.empty()) return {nan, nan, nan};
  const bool ratio = info.scale == schema::Scale::ratio;
  const auto level = [ratio](double v) { return ratio ? std::exp(v) : v; };
  Figure figure{level(mean(y)), nan, nan};
  if (info.deterministic) {  // exactly what a byte count is, not what the round trip through logs
                             // makes of it
    if (cells.size() == 1) figure.value = obs.of(config, cells[0]).front().metrics[metric];
    const double nearest = std::round(figure.value);
    if (info.units == "byte" && std::abs(figure.value - nearest) < 1e-9 * nearest)
      figure.value = nearest;
    return figure;
  }
  const Interval interval = student_interval(y);
  figure.half_width = (level(interval.high) - level(interval.low)) / 2;
  return figure;
}

// The aggregate's rows of every config. They stand together, in the order of `configs`, so that ten
// thousand configs do not each look through all rows.
using Rows = std::span<const AggregateRow>;
std::vector<Rows> rows_by_config(Rows rows, const std::vector<std::string>& configs) {
  std::vector<Rows> parts;
  for (const std::string& config : configs) {
    const auto end = std::find_if(rows.begin(), rows.end(),
                                  [&](const AggregateRow& row) { return row.config != config; });
    parts.emplace_back(rows.begin(), end);
    rows = {end, rows.end()};
  }
  return parts;
}

const AggregateRow* find_row(Rows rows, const CellKey& cell, const std::string& metric,
                             const std::string& protocol) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const AggregateRow& row) {
    return row.metric == metric && row.workload == cell.workload && row.lengths == cell.lengths &&
           row.protocol_fingerprint == protocol;
  });
  return found == rows.end() ? nullptr : &*found;
}

// ppl = exp(nll), so its interval is that of nll through exp.
Figure quality_figure(Rows rows, const CellKey& cell, const std::string& metric,
                      const std::string& protocol) {
  const AggregateRow* row = find_row(rows, cell, metric, protocol);
  if (row == nullptr) return {nan, nan, nan};
  const bool ppl = metric == "perplexity.ppl";
  const AggregateRow* spread = ppl ? find_row(rows, cell, "perplexity.nll", protocol) : row;
  if (spread == nullptr) return {row->mean, nan, nan};
  const auto level = [ppl](double v) { return ppl ? std::exp(v) : v; };
  return {row->mean, (level(spread->item_ci95_high) - level(spread->item_ci95_low)) / 2, nan};
}

std::optional<size_t> quality_cell(const Observations& obs) {
  const std::vector<size_t> cells = common_cells(obs, "perplexity");
  return cells.empty() ? std::nullopt : std::optional(cells.front());
}

// Names the protocol of a row's quality figures; false where they may not stand beside the
// baseline's.
bool admit_quality(const Observations& obs, size_t config, size_t baseline, size_t cell,
                   PaperRow& row) {
  const std::vector<RunValues>& runs = obs.of(config, cell);
  if (runs.empty()) return false;
  row.quality_cell = obs.cells[cell].workload + "/" + obs.cells[cell].lengths;
  row.protocol_fingerprint = runs.front().protocol_fingerprint;
  const std::vector<RunValues>& reference = obs.of(baseline, cell);
  if (reference.empty() || reference.front().protocol_fingerprint == row.protocol_fingerprint)
    return true;
  row.note = "quality left out: another protocol than the baseline's";
  return false;
}

void fill_ratios(std::vector<PaperRow>& rows, size_t baseline, size_t column, bool ratio) {
  const double reference = rows[baseline].figures[column].value;
  if (!ratio) return;
  for (PaperRow& row : rows) row.figures[column].ratio = row.figures[column].value / reference;
}

}  // namespace

void fill_paper(const sweep::PlanManifest& plan, const Observations& obs,
                const std::vector<ConfigFacts>& facts, ReduceReport& report) {
  const auto named = std::find(obs.configs.begin(), obs.configs.end(), plan.baseline);
  const size_t baseline =
      named == obs.configs.end() ? 0 : static_cast<size_t>(named - obs.configs.begin());
  const std::optional<size_t> quality = quality_cell(obs);
  const std::vector<Rows> rows = rows_by_config(report.aggregate, obs.configs);
  const std::map<std::string, std::vector<size_t>> pooled = cells_by_kind(obs);
  for (size_t config = 0; config < obs.configs.size(); ++config) {
    const ConfigFacts& fact = facts[config];
    PaperRow row{obs.configs[config],
                 config < plan.duplicate_of.size() ? plan.duplicate_of[config] : "",
                 fact.w_bits,
                 fact.a_bits,
                 fact.kv_bits,
                 fact.group_size,
                 fact.weight_format,
                 fact.scale_format,
                 fact.quant_method,
                 fact.known,
                 {},
                 "",
                 "",
                 ""};
    const bool scored = quality && admit_quality(obs, config, baseline, *quality, row);
    for (const Spec& spec : specs) {
      if (!spec.always && !has_kind(obs, kind_of(spec))) continue;
      if (spec.pool == Pool::quality) {
        row.figures.push_back(scored ? quality_figure(rows[config], obs.cells[*quality],
                                                      spec.metric, row.protocol_fingerprint)
                                     : Figure{nan, nan, nan});
      } else {
        row.figures.push_back(
            figure_over_cells(obs, metric_index(spec.metric), config, pooled.at(kind_of(spec))));
      }
    }
    report.paper.push_back(std::move(row));
  }
  for (const Spec& spec : specs) {
    if (!spec.always && !has_kind(obs, kind_of(spec))) continue;
    const schema::MetricInfo& info = *schema::find_metric(spec.metric);
    report.paper_columns.push_back(
        {spec.name, std::string(info.units), std::string(info.long_name)});
    // A KL divergence has no ratio: the baseline's is zero.
    const bool ratio = std::string(spec.name) != "kl";
    if (!report.paper.empty())
      fill_ratios(report.paper, baseline, report.paper_columns.size() - 1, ratio);
  }
}

}  // namespace qsweep::reduce
