// The text of --plan: a summary first, then configs, cells, claims, refusals and shares; long
// tables are cut and the rest is summed up.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/clock.hpp"
#include "base/text_table.hpp"
#include "sweep/grammar/read.hpp"
#include "sweep/plan/cost.hpp"
#include "sweep/plan/plan.hpp"
#include "sweep/plan/schedule.hpp"

namespace qsweep::sweep {
namespace {

constexpr size_t max_rows = 60;

std::string human_count(double count) {
  if (count < 1e6) return fmt::format("{:.0f}", count);
  return count < 1e9 ? fmt::format("{:.1f} M", count / 1e6) : fmt::format("{:.2f} B", count / 1e9);
}

struct Sum {
  size_t runs = 0;
  double seconds = 0, least = 0, most = 0;
  void add(double cost) {
    least = runs == 0 ? cost : std::min(least, cost);
    most = std::max(most, cost);
    ++runs;
    seconds += cost;
  }
  std::string each() const {
    const std::string low = human_seconds(least), high = human_seconds(most);
    return low == high ? low : low + " to " + high;
  }
};

std::string join(const std::vector<std::string>& parts, const std::string& between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

std::string kv_text(const quant::KvCodec& kv) {
  std::string text =
      "kv " + std::string(kv.id == quant::KvId::none ? "as computed" : name_of(kv.id));
  if (kv.id != quant::KvId::none) text.append("/").append(name_of(kv.axis));
  if (kv.keep < 1) text += " keep " + grammar::percent_text(kv.keep) + " by " + kv.keep_by;
  return text;
}

bool is_set(const quant::KvCodec& kv) {
  return kv.id != quant::KvId::none || kv.keep < 1;
}

// "mlp: int4 g128 e5m5, gptq, activations int8/token"
std::string config_text(const quant::QuantConfig& config) {
  if (!config.duplicate_of.empty())
    return "the same as " + config.duplicate_of + ", for the noise floor";
  std::vector<std::string> parts, scopes;
  for (const quant::Scope scope : config.scope) scopes.emplace_back(name_of(scope));
  const std::string where = scopes.empty() ? "" : join(scopes, "+") + ": ";
  if (config.weights) parts.push_back(quant::to_string(*config.weights));
  if (config.method.id != quant::MethodId::rtn) parts.emplace_back(name_of(config.method.id));
  for (const quant::Transform& transform : config.transforms)
    parts.emplace_back(name_of(transform.id));
  if (config.activations.id != quant::ActivationId::none) {
    parts.push_back(fmt::format("activations {}/{}", name_of(config.activations.id),
                                name_of(config.activations.scale)));
  }
  if (is_set(config.kv)) parts.push_back(kv_text(config.kv));
  for (const quant::LayerOverride& change : config.layers) {
    if (change.weights)
      parts.push_back("layers " + change.key + ": " + quant::to_string(*change.weights));
    if (change.kv) parts.push_back("layers " + change.key + ": " + kv_text(*change.kv));
  }
  if (config.sharer) {
    parts.push_back("sharer " + config.sharer->model +
                    (is_set(config.sharer->kv) ? ", " + kv_text(config.sharer->kv) : ""));
  }
  return parts.empty() ? "as the checkpoint has it" : where + join(parts, ", ");
}

std::string model_text(const Plan& plan) {
  if (plan.study.model == "none") return "no model (synthetic workloads only)";
  if (!plan.shape_known)
    return plan.study.model + " (not here, shape unknown: costs and memory are not predicted)";
  std::string text =
      fmt::format("{}: {}, {} layers, {} parameters", plan.study.model, name_of(plan.shape.family),
                  plan.shape.layers, human_count(static_cast<double>(plan.shape.parameters())));
  if (plan.model_fingerprint.empty()) return text + "; published shape, the files are not here";
  return text + "; fingerprint " + plan.model_fingerprint.substr(0, 12);
}

std::string repeats_text(const Plan& plan) {
  const Repeats& repeats = plan.study.repeats;
  if (repeats.until_metric.empty()) return "";
  return fmt::format(
      "  repeats {} to {} until the 95 % interval of {} is within {}; planned at the upper bound\n",
      repeats.min, repeats.max, repeats.until_metric, grammar::percent_text(repeats.until_ci95));
}

std::string summary_text(const Plan& plan, const Sum& total, const Schedule& schedule) {
  const size_t claims = plan.study.claims.size();
  std::string text = fmt::format("study {}\nmodel {}\n\n", plan.study.name, model_text(plan));
  text += fmt::format(
      "  {} of {} x {}, {}; {}\n", plural(total.runs, "run"),
      plural(plan.study.configs.size(), "config"), plural(plan.cells.size(), "cell"),
      plural(claims, "claim"),
      plan.refusals.empty() ? "nothing is refused" : plural(plan.refusals.size(), "refusal"));
  text += repeats_text(plan);
  if (total.runs == 0) return text + "  nothing to run\n";
  text += schedule.summary();
  if (plan.shape_known && plan.peak_bytes > 0) {
    text += fmt::format("  assuming {:.3g} FLOP/s and {:.3g} byte/s a rank\n",
                        plan.rates.flops_per_s, plan.rates.bytes_per_s);
    text +=
        fmt::format("  memory of a rank {} with one config resident (weights of the largest {})\n",
                    human_bytes(plan.peak_bytes), human_bytes(plan.weight_bytes_max));
  }
  if (plan.calibration_seconds > 0) {
    const Calibration& calibration = *plan.study.calibration;
    text += fmt::format(
        "  calibration on up to {} x {} tokens of {}, about {} more on each rank that runs a "
        "config "
        "with static activation scales\n",
        calibration.samples, calibration.length, calibration.data,
        human_seconds(plan.calibration_seconds));
  }
  return text;
}

std::string configs_text(const Plan& plan, const std::vector<Sum>& sums) {
  TextTable table("lrrrl");
  table.add({"config", "weights", "runs", "time", "what it is"});
  Sum rest;
  for (size_t c = 0; c < plan.study.configs.size(); ++c) {
    const quant::QuantConfig& config = plan.study.configs[c];
    if (c >= max_rows) {
      rest.runs += sums[c].runs;
      rest.seconds += sums[c].seconds;
      continue;
    }
    const bool fits = plan.shape_known && linears_problem(plan.shape, config).empty();
    const std::string star = config.name == plan.study.baseline ? " (baseline)" : "";
    const bool refused =
        std::any_of(plan.refusals.begin(), plan.refusals.end(),
                    [&](const Refusal& refusal) { return refusal.config == config.name; });
    const std::string idle = refused ? "refused" : "-";
    table.add({config.name, fits ? human_bytes(weight_cost(plan.shape, config).resident) : "-",
               std::to_string(sums[c].runs),
               sums[c].runs > 0 ? human_seconds(sums[c].seconds) : idle,
               config_text(config) + star});
  }
  std::string text = fmt::format("\n{}", table.text());
  if (plan.study.configs.size() > max_rows) {
    text += fmt::format("  ... and {} more configs: {}, {}\n", plan.study.configs.size() - max_rows,
                        plural(rest.runs, "run"), human_seconds(rest.seconds));
  }
  return text;
}

// Cells without runs are left to the refusals and --only.
std::string cells_text(const Plan& plan, const std::vector<Sum>& sums) {
  TextTable table("llrrr");
  table.add({"workload", "lengths", "runs", "time", "a run"});
  Sum rest;
  size_t shown = 0, hidden = 0;
  for (size_t k = 0; k < plan.cells.size(); ++k) {
    if (sums[k].runs == 0) continue;
    if (shown == max_rows) {
      ++hidden;
      rest.runs += sums[k].runs;
      rest.seconds += sums[k].seconds;
      continue;
    }
    ++shown;
    table.add({plan.cells[k].workload, plan.cells[k].lengths, std::to_string(sums[k].runs),
               human_seconds(sums[k].seconds), sums[k].each()});
  }
  if (shown == 0) return "";
  std::string text = fmt::format("\n{}", table.text());
  if (hidden > 0) {
    text += fmt::format("  ... and {} more cells: {}, {}\n", hidden, plural(rest.runs, "run"),
                        human_seconds(rest.seconds));
  }
  return text;
}

std::string claim_text(const Claim& claim) {
  const std::string margin = claim.within_relative ? grammar::percent_text(claim.within)
                                                   : grammar::number_text(claim.within);
  const std::string where = claim.lengths.empty() ? "" : " at " + claim.lengths;
  switch (claim.kind) {
    case ClaimKind::equivalent:
      return fmt::format("{} of {} and {} equal within {}{}", claim.metric, claim.configs[0],
                         claim.configs[1], margin, where);
    case ClaimKind::ordered:
      return fmt::format("{} {} along {}{}", claim.metric, claim.increasing ? "rises" : "falls",
                         join(claim.configs, ", "), where);
    case ClaimKind::not_worse:
      return fmt::format("{} of {} no worse than {} by more than {}{}", claim.metric,
                         claim.configs[0], claim.configs[1], margin, where);
    case ClaimKind::better:
      return fmt::format("{} of {} better than {}{}", claim.metric, claim.configs[0],
                         claim.configs[1], where);
  }
  return {};
}

std::string claims_text(const Plan& plan) {
  if (plan.study.claims.empty()) return "";
  std::set<std::pair<std::string, std::string>> measured;  // config, kind
  for (const Run& run : plan.runs) {
    measured.emplace(plan.study.configs[run.config].name, name_of(plan.cells[run.cell].kind));
  }
  TextTable table("ll");
  table.add({"claim", ""});
  for (size_t i = 0; i < std::min(max_rows, plan.study.claims.size()); ++i) {
    const Claim& claim = plan.study.claims[i];
    const std::string kind = claim.metric.substr(0, claim.metric.find('.'));
    const bool testable =
        std::all_of(claim.configs.begin(), claim.configs.end(), [&](const std::string& config) {
          return measured.contains({config, kind});
        });
    table.add({claim.name, claim_text(claim) + (testable ? "" : " (no runs to test it on)")});
  }
  std::string text = fmt::format("\n{}", table.text());
  if (plan.study.claims.size() > max_rows)
    text += fmt::format("  ... and {} more\n", plan.study.claims.size() - max_rows);
  return text;
}

// Refusals that share a reason stand in one line.
std::string refusals_text(const Plan& plan) {
  if (plan.refusals.empty()) return "";
  std::vector<std::string> reasons;
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const Refusal& refusal : plan.refusals) {
    std::vector<std::string> parts;
    for (const std::string& part : {refusal.config, refusal.workload, refusal.lengths}) {
      if (!part.empty()) parts.push_back(part);
    }
    auto& who = by_reason[refusal.reason];
    if (who.empty()) reasons.push_back(refusal.reason);
    who.push_back(join(parts, "/"));
  }
  std::string text = "\n  refused\n";
  for (size_t i = 0; i < std::min(max_rows, reasons.size()); ++i) {
    std::vector<std::string>& who = by_reason[reasons[i]];
    const size_t hidden = who.size() > 8 ? who.size() - 8 : 0;
    who.resize(who.size() - hidden);
    text += "  " + join(who, ", ") + (hidden > 0 ? fmt::format(" and {} more", hidden) : "") +
            "\n      " + reasons[i] + "\n";
  }
  if (reasons.size() > max_rows)
    text += fmt::format("  ... and {} more reasons\n", reasons.size() - max_rows);
  return text;
}

}  // namespace

std::string plan_text(const Plan& plan, int64_t ranks, const RecordedCosts& recorded) {
  std::vector<Sum> by_config(plan.study.configs.size()), by_cell(plan.cells.size());
  Sum total;
  for (const Run& run : plan.runs) {
    by_config[run.config].add(run.cost);
    by_cell[run.cell].add(run.cost);
    total.add(run.cost);
  }
  const Schedule schedule(plan, ranks, recorded);
  return summary_text(plan, total, schedule) + configs_text(plan, by_config) +
         cells_text(plan, by_cell) + claims_text(plan) + refusals_text(plan) + schedule.shares();
}

}  // namespace qsweep::sweep
