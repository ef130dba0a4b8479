#include "reduce/tables.hpp"

#include <charconv>
#include <cmath>
#include <type_traits>

#include "base/error.hpp"
#include "base/names.hpp"

namespace qsweep::reduce {
namespace {

// One column of rows[n], by member or function of a row.
template <class Row, class Get>
Column column(const std::vector<Row>& rows, std::string name, std::string units,
              std::string long_name, Get get) {
  using Value = std::decay_t<std::invoke_result_t<Get, const Row&>>;
  using Stored =
      std::conditional_t<std::is_floating_point_v<Value>, double,
                         std::conditional_t<std::is_integral_v<Value>, int64_t, std::string>>;
  std::vector<Stored> values;
  values.reserve(rows.size());
  for (const Row& row : rows) values.push_back(static_cast<Stored>(std::invoke(get, row)));
  return {std::move(name), std::move(units), std::move(long_name), std::move(values)};
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string cell_text(const record::Values& values, size_t row) {
  return std::visit(
      [row](const auto& v) {
        using Value = typename std::decay_t<decltype(v)>::value_type;
        if constexpr (std::is_same_v<Value, std::string>) {
          return csv_cell(v[row]);
        } else if constexpr (std::is_same_v<Value, double>) {
          return number_text(v[row]);
        } else {
          return std::to_string(v[row]);
        }
      },
      values);
}

size_t rows_of(const Column& column) {
  return std::visit([](const auto& v) { return v.size(); }, column.values);
}

}  // namespace

std::string number_text(double value) {
  if (std::isnan(value)) return {};
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

Table aggregate_table(const ReduceReport& report) {
  using R = AggregateRow;
  const auto& rows = report.aggregate;
  const std::string own = "see column units";  // every row has its own
  return {
      column(rows, "config", "1", "config", &R::config),
      column(rows, "workload", "1", "workload", &R::workload),
      column(rows, "lengths", "1", "lengths of the cell", &R::lengths),
      column(rows, "kind", "1", "kind of the workload", &R::kind),
      column(rows, "metric", "1", "metric", &R::metric),
      column(rows, "units", "1", "units of the metric", &R::units),
      column(rows, "n", "1", "accepted repeats", &R::n),
      column(rows, "mean", own, "mean over repeats", &R::mean),
      column(rows, "sd", own, "standard deviation over repeats", &R::sd),
      column(rows, "ci95_low", own, "lower end of Student's 95 % interval", &R::ci95_low),
      column(rows, "ci95_high", own, "upper end of Student's 95 % interval", &R::ci95_high),
      column(rows, "min", own, "smallest repeat", &R::min),
      column(rows, "max", own, "largest repeat", &R::max),
      column(rows, "median", own, "median over repeats", &R::median),
      column(rows, "better", "1", "direction that is better", &R::better),
      column(rows, "item_n", "1", "items of the lowest repeat", &R::item_n),
      column(rows, "item_mean", own, "weighted mean over items", &R::item_mean),
      column(rows, "item_ci95_low", own, "lower end of the bootstrap 95 % interval",
             &R::item_ci95_low),
      column(rows, "item_ci95_high", own, "upper end of the bootstrap 95 % interval",
             &R::item_ci95_high),
      column(rows, "protocol_fingerprint", "1", "hash of the protocol", &R::protocol_fingerprint)};
}

Table paper_table(const ReduceReport& report) {
  using R = PaperRow;
  const auto& rows = report.paper;
  Table table = {
      column(rows, "config", "1", "config", &R::config),
      column(rows, "duplicate_of", "1", "original of an A/A duplicate", &R::duplicate_of)};
  const auto fact = [&](const char* name, const char* units, auto member) {
    table.push_back(column(rows, name, units, name, [member](const R& row) {
      return row.known ? std::to_string(row.*member) : std::string();
    }));
  };
  fact("w_bits", "bit", &R::w_bits);
  fact("a_bits", "bit", &R::a_bits);
  fact("kv_bits", "bit", &R::kv_bits);
  fact("group_size", "1", &R::group_size);
  table.push_back(column(rows, "weight_format", "1", "format of the weights", &R::weight_format));
  table.push_back(column(rows, "scale_format", "1", "codec of the scales", &R::scale_format));
  table.push_back(column(rows, "quant_method", "1", "how codes were chosen", &R::quant_method));
  for (size_t f = 0; f < report.paper_columns.size(); ++f) {
    const PaperColumn& info = report.paper_columns[f];
    const auto figure = [&](const char* suffix, const std::string& units, const char* what,
                            double Figure::*member) {
      table.push_back(column(rows, info.name + suffix, units, info.long_name + what,
                             [f, member](const R& row) { return row.figures[f].*member; }));
    };
    figure("", info.units, "", &Figure::value);
    figure("_ci95", info.units, ", half width of the 95 % interval", &Figure::half_width);
    figure("_ratio", "1", ", ratio to the baseline", &Figure::ratio);
  }
  table.push_back(column(rows, "quality_cell", "1", "cell of nll, ppl and kl", &R::quality_cell));
  table.push_back(column(rows, "protocol_fingerprint", "1", "protocol of nll, ppl and kl",
                         &R::protocol_fingerprint));
  table.push_back(column(rows, "note", "1", "why a figure is left out", &R::note));
  return table;
}

Table claims_table(const ReduceReport& report) {
  using R = ClaimResult;
  const auto& rows = report.claims;
  const std::string own = "see column unit_of_estimate";
  return {
      column(rows, "name", "1", "claim", &R::name),
      column(rows, "kind", "1", "kind of claim", &R::kind),
      column(rows, "metric", "1", "metric", &R::metric),
      column(rows, "configs", "1", "configs compared, A first", &R::configs),
      column(rows, "verdict", "1", "supported, refuted or inconclusive",
             [](const R& row) { return std::string(name_of(row.verdict)); }),
      column(rows, "exploratory", "1", "1 if not registered before the first run",
             [](const R& row) { return int64_t{row.exploratory}; }),
      column(rows, "estimate", own, "ratio A / B or difference A - B", &R::estimate),
      column(rows, "ci_low", own, "lower end of its 95 % interval", &R::ci_low),
      column(rows, "ci_high", own, "upper end of its 95 % interval", &R::ci_high),
      column(rows, "margin", own, "margin; relative for ratios", &R::margin),
      column(rows, "p_support", "1", "p-value of the test that supports", &R::p_support),
      column(rows, "p_refute", "1", "p-value of the test that refutes", &R::p_refute),
      column(rows, "p_support_holm", "1", "p_support after Holm", &R::p_support_holm),
      column(rows, "p_refute_holm", "1", "p_refute after Holm", &R::p_refute_holm),
      column(rows, "smallest_detectable", own,
             "smallest detectable effect at power 0.8; relative for ratios",
             &R::smallest_detectable),
      column(rows, "unit_of_estimate", "1", "ratio, or units of the metric", &R::unit_of_estimate),
      column(rows, "n", "1", "repeats, items or cells that the test rests on", &R::n),
      column(rows, "test", "1", "test", &R::test),
      column(rows, "note", "1", "what to know beside the verdict", &R::note)};
}

Table noise_floor_table(const ReduceReport& report) {
  using R = NoiseFloorRow;
  const auto& rows = report.noise_floor;
  return {
      column(rows, "metric", "1", "metric", &R::metric),
      column(rows, "lengths", "1", "lengths of the cell", &R::lengths),
      column(rows, "workload", "1", "workload", &R::workload),
      column(rows, "baseline_mean", "units of the metric", "mean of the baseline",
             &R::baseline_mean),
      column(rows, "duplicate_mean", "units of the metric", "mean of its duplicate",
             &R::duplicate_mean),
      column(rows, "relative_difference", "1", "(duplicate - baseline) / |baseline|",
             &R::relative_difference),
      column(rows, "floor", "1", "upper 95 % bound of the relative difference's size", &R::floor),
      column(rows, "n", "1", "repeats of the smaller side", &R::n)};
}

Table drift_table(const ReduceReport& report) {
  using R = DriftRow;
  const auto& rows = report.drift;
  return {
      column(rows, "metric", "1", "metric", &R::metric),
      column(rows, "workload", "1", "workload of the sentinel", &R::workload),
      column(rows, "lengths", "1", "lengths of its cell", &R::lengths),
      column(rows, "n", "1", "runs of the baseline and its duplicate", &R::n),
      column(rows, "span_h", "h", "first run to last", &R::span_h),
      column(rows, "per_hour", "1/h", "relative change an hour, by least squares", &R::per_hour),
      column(rows, "ci95_low", "1/h", "lower end of its 95 % interval", &R::ci95_low),
      column(rows, "ci95_high", "1/h", "upper end of its 95 % interval", &R::ci95_high),
      column(rows, "p", "1", "p against no drift, two-sided", &R::p),
      column(rows, "over_sweep", "1", "relative change over the span", &R::over_sweep),
      column(rows, "rank_deviation", "1", "largest relative deviation of a rank's mean",
             &R::rank_deviation)};
}

Table cost_table(const ReduceReport& report) {
  using R = CostRow;
  const auto& rows = report.cost;
  return {column(rows, "rank", "1", "rank", &R::rank),
          column(rows, "runs", "1", "records written", &R::runs),
          column(rows, "busy_s", "s", "sum of the runs' wall times", &R::busy_s),
          column(rows, "predicted_s", "s", "sum of the planner's predictions", &R::predicted_s),
          column(rows, "span_s", "s", "first start to last end", &R::span_s)};
}

Table run_index_table(const ReduceReport& report) {
  using R = RunRow;
  const auto& rows = report.runs;
  return {column(rows, "id", "1", "run id", &R::id),
          column(rows, "config", "1", "config", &R::config),
          column(rows, "workload", "1", "workload", &R::workload),
          column(rows, "lengths", "1", "lengths of the cell", &R::lengths),
          column(rows, "repeat", "1", "repeat", &R::repeat),
          column(rows, "status", "1", "ok, failed, unproven, unreadable or missing",
                 [](const R& row) { return std::string(name_of(row.status)); }),
          column(rows, "error", "1", "reason where the status is not ok", &R::error),
          column(rows, "path", "1", "file relative to the run folder", &R::path),
          column(rows, "rank", "1", "rank, -1 without a record", &R::rank),
          column(rows, "start", "1", "UTC start", &R::start),
          column(rows, "end", "1", "UTC end", &R::end),
          column(rows, "seconds", "s", "wall time", &R::seconds)};
}

std::string to_csv(const Table& table) {
  expect(!table.empty(), "a table has columns");
  std::string text;
  for (size_t c = 0; c < table.size(); ++c) {
    if (c > 0) text += ',';
    text += csv_cell(table[c].name);
  }
  text += '\n';
  for (size_t row = 0; row < rows_of(table.front()); ++row) {
    for (size_t c = 0; c < table.size(); ++c) {
      if (c > 0) text += ',';
      text += cell_text(table[c].values, row);
    }
    text += '\n';
  }
  return text;
}

}  // namespace qsweep::reduce
