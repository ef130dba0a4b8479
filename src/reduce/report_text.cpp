// A report as the console shows it.
#include <fmt/format.h>
#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/names.hpp"
#include "reduce/reduce.hpp"

namespace qsweep::reduce {
namespace {

constexpr size_t listed = 20;  // lines of a list before the rest is only counted

std::string significant(double value, int digits = 4) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}g}", value, digits);
}

std::string with_interval(const Figure& figure) {
  if (std::isnan(figure.value)) return "-";
  if (std::isnan(figure.half_width)) return fmt::format("{:.6g}", figure.value);
  // The value to the interval's second digit: more would be noise.
  const double scale = std::max(std::abs(figure.half_width), 1e-9 * std::abs(figure.value));
  const int decimals =
      scale > 0 ? std::clamp(1 - static_cast<int>(std::floor(std::log10(scale))), 0, 9) : 4;
  return fmt::format("{:.{}f} ± {:.{}f}", figure.value, decimals, figure.half_width, decimals);
}

// Columns as wide as their widest cell; the first left, the others right.
std::string aligned(const std::vector<std::vector<std::string>>& lines) {
  const auto width = [](const std::string& cell) {  // characters, not bytes: "±" has two
    return static_cast<size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }));
  };
  std::vector<size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], width(line[c]));
  }
  std::string text;
  for (const auto& line : lines) {
    for (size_t c = 0; c < line.size(); ++c) {
      const std::string gap(widths[c] - width(line[c]), ' ');
      text += c == 0 ? "  " + line[c] + gap : "  " + gap + line[c];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

Figure in_megabytes(const PaperColumn& column, Figure figure) {
  if (column.units != "byte") return figure;
  return {figure.value / 1e6, figure.half_width / 1e6, figure.ratio};
}

std::string heading(const PaperColumn& column) {
  if (column.units == "byte") return column.name.substr(0, column.name.rfind("_bytes")) + " [MB]";
  const bool named = column.units == "1" || column.name.ends_with("_ms");
  return named ? column.name : column.name + " [" + column.units + "]";
}

std::string config_table(const ReduceReport& report) {
  std::vector<size_t> shown;
  for (size_t f = 0; f < report.paper_columns.size(); ++f) {
    const bool any =
        std::any_of(report.paper.begin(), report.paper.end(),
                    [f](const PaperRow& row) { return !std::isnan(row.figures[f].value); });
    if (any) shown.push_back(f);
  }
  if (report.paper.empty()) return {};
  std::vector<std::vector<std::string>> lines{{"config", "w_bits", "group", "scale"}};
  for (const size_t f : shown) {
    lines[0].push_back(heading(report.paper_columns[f]));
  }
  for (const PaperRow& row : report.paper) {
    std::vector<std::string> line{row.config, row.known ? std::to_string(row.w_bits) : "-",
                                  row.known ? std::to_string(row.group_size) : "-",
                                  row.scale_format.empty() ? "-" : row.scale_format};
    for (const size_t f : shown) {
      const Figure figure = in_megabytes(report.paper_columns[f], row.figures[f]);
      const bool relative = row.config != report.baseline && !std::isnan(figure.ratio);
      line.push_back(with_interval(figure) +
                     (relative ? fmt::format(" (x{:.3f})", figure.ratio) : ""));
    }
    lines.push_back(std::move(line));
  }
  return "\nby config (± half width of the 95 % interval; x ratio to " + report.baseline + ")\n" +
         aligned(lines);
}

std::string claim_text(const ClaimResult& claim) {
  std::string text = fmt::format("  {:<12} {}{}: {} [{}] on {}\n", name_of(claim.verdict),
                                 claim.name, claim.exploratory ? " (exploratory)" : "", claim.kind,
                                 claim.configs, claim.metric);
  if (!std::isnan(claim.estimate)) {
    text += fmt::format(
        "    {} {} in [{}, {}]{}, margin {}, n {}, {}, p {} (Holm {}), against {} (Holm {})",
        claim.unit_of_estimate == "ratio" ? "ratio" : "difference", significant(claim.estimate, 5),
        significant(claim.ci_low, 5), significant(claim.ci_high, 5),
        claim.unit_of_estimate == "ratio" ? "" : " " + claim.unit_of_estimate,
        significant(claim.margin), claim.n, claim.test, significant(claim.p_support, 3),
        significant(claim.p_support_holm, 3), significant(claim.p_refute, 3),
        significant(claim.p_refute_holm, 3));
    if (!std::isnan(claim.smallest_detectable)) {
      text +=
          fmt::format(", smallest detectable effect {}", significant(claim.smallest_detectable, 3));
    }
    text += '\n';
  }
  return claim.note.empty() ? text : text + "    " + claim.note + '\n';
}

std::string noise_text(const ReduceReport& report) {
  const NoiseFloorRow* worst = nullptr;
  std::string text;
  for (const char* metric :
       {"profile.ttft_ms", "profile.tpot_ms", "perplexity.nll", "synthetic.seconds"}) {
    worst = nullptr;
    for (const NoiseFloorRow& row : report.noise_floor) {
      if (row.metric == metric && !std::isnan(row.floor) &&
          (worst == nullptr || row.floor > worst->floor))
        worst = &row;
    }
    if (worst != nullptr) {
      text += fmt::format("  {}: {:.3g} % ({}/{})\n", metric, 100 * worst->floor, worst->workload,
                          worst->lengths);
    }
  }
  return text.empty()
             ? text
             : "\nnoise floor: baseline against its duplicate, largest over cells\n" + text;
}

std::string drift_text(const ReduceReport& report) {
  std::string text;
  for (const char* metric : {"profile.ttft_ms", "profile.tpot_ms", "synthetic.seconds"}) {
    for (const DriftRow& row : report.drift) {
      if (row.metric != metric) continue;
      text +=
          fmt::format("  {}: {:+.3g} % an hour [{:+.3g}, {:+.3g}], p {}, over {:.3g} h and {} runs",
                      metric, 100 * row.per_hour, 100 * row.ci95_low, 100 * row.ci95_high,
                      significant(row.p, 3), row.span_h, row.n);
      if (!std::isnan(row.rank_deviation))
        text += fmt::format("; ranks within {:.3g} %", 100 * row.rank_deviation);
      text += '\n';
    }
  }
  return text.empty() ? text : "\ndrift: the baseline and its duplicate against the clock\n" + text;
}

std::string list_runs(const ReduceReport& report, const char* title,
                      std::initializer_list<RunStatus> statuses) {
  std::string text;
  size_t count = 0;
  for (const RunRow& run : report.runs) {
    if (std::find(statuses.begin(), statuses.end(), run.status) == statuses.end()) continue;
    if (count++ < listed)
      text += fmt::format("  {}{}{}\n", run.path, run.error.empty() ? "" : ": ", tamed(run.error));
  }
  if (count == 0) return {};
  if (count > listed) text += fmt::format("  and {} more\n", count - listed);
  return fmt::format("\n{} ({})\n", title, count) + text;
}

}  // namespace

std::string ReduceReport::text() const {
  std::string out = fmt::format(
      "study {}, model {}: {} runs planned, {} ok, {} failed, {} unproven, {} missing\n", study,
      model, runs.size(), ok, failed, unproven, missing);
  out += config_table(*this);
  if (!claims.empty()) {
    out += "\nclaims\n";
    for (const ClaimResult& claim : claims) out += claim_text(claim);
  }
  out += noise_text(*this);
  out += drift_text(*this);
  out += list_runs(*this, "failed", {RunStatus::failed, RunStatus::unreadable});
  out += list_runs(*this, "unproven, left out", {RunStatus::unproven});
  out += list_runs(*this, "missing", {RunStatus::missing});
  if (!refusals.empty())
    out += fmt::format("\n{} combinations were refused by the planner\n", refusals.size());
  out += fmt::format("\ncost: {:.1f} s busy on {} ranks, {:.1f} s predicted\n", total_busy_s,
                     cost.size(), total_predicted_s);
  return out;
}

}  // namespace qsweep::reduce
