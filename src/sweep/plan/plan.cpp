#include "sweep/plan/plan.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "eval/workload.hpp"
#include "model/checkpoint.hpp"
#include "record/schema.hpp"
#include "sweep/plan/calibration_plan.hpp"
#include "sweep/plan/cost.hpp"
#include "sweep/plan/locate.hpp"
#include "sweep/plan/texts.hpp"

namespace qsweep::sweep {
namespace {

using nlohmann::json;

constexpr int64_t max_runs = 1000000;

// Files if they are here, else a published shape; else nothing is known and costs are zero.
void learn_model(Plan& plan) {
  if (!has_model(plan.study)) return;
  std::filesystem::path folder;
  try {
    folder = locate_model(plan.study);
  } catch (const Error&) {
    const model::ModelConfig* published = model::published_shape(plan.study.model);
    plan.shape_known = published != nullptr;
    if (plan.shape_known) plan.shape = *published;
    return;
  }
  const auto checkpoint = model::Checkpoint::open(folder);
  plan.shape = checkpoint->config();
  plan.shape_known = true;
  plan.model_fingerprint = checkpoint->fingerprint();
}

size_t index_of(const Study& study, const std::string& name) {
  const auto found =
      std::find_if(study.configs.begin(), study.configs.end(),
                   [&](const quant::QuantConfig& config) { return config.name == name; });
  expect(found != study.configs.end(), "the baseline is one of the study's configs");
  return static_cast<size_t>(found - study.configs.begin());
}

// Builds a plan piece by piece; members are what the pieces share.
class Planner {
 public:
  Planner(const Study& study, const PlanOptions& options) : options_(options), texts_(study) {
    plan_.study = study;
    plan_.rates = options.rates;
    for (const Workload& workload : study.workloads) {
      const int64_t repeats =
          options.repeats > 0 ? options.repeats : workload.repeats.value_or(study.repeats.max);
      for (const eval::Cell& cell : workload.cells) {
        plan_.cells.push_back(cell);
        repeats_.push_back(repeats);
      }
    }
    refuse_count(static_cast<int64_t>(study.configs.size() * plan_.cells.size()), "combinations");
    learn_model(plan_);
  }

  Plan make() {
    keep_wanted();
    refuse_workloads();
    refuse_configs();
    predict();
    add_runs();
    return std::move(plan_);
  }

 private:
  static void refuse_count(int64_t count, const std::string& what) {
    if (count <= max_runs) return;
    throw_invalid("the study has too many " + what,
                  std::to_string(count) + " > " + std::to_string(max_runs),
                  "lower repeats, or split it");
  }
  size_t at(size_t config, size_t cell) const { return config * plan_.cells.size() + cell; }
  const quant::QuantConfig& config(size_t c) const { return plan_.study.configs[c]; }
  bool needs_model(size_t cell) const { return eval::needs_model(plan_.cells[cell].kind); }

  bool matches(const std::string& text) const {
    return std::any_of(options_.only.begin(), options_.only.end(), [&](const std::string& glob) {
      return fnmatch(glob.c_str(), text.c_str(), 0) == 0;
    });
  }
  // --only on names; globs that may mean run ids or paths are looked at run by run.
  void keep_wanted() {
    open_.assign(plan_.study.configs.size() * plan_.cells.size(), true);
    named_.assign(open_.size(), options_.only.empty());
    for (size_t c = 0; c < plan_.study.configs.size() && !options_.only.empty(); ++c) {
      const bool by_config = matches(config(c).name);
      for (size_t k = 0; k < plan_.cells.size(); ++k) {
        const std::string& workload = plan_.cells[k].workload;
        named_[at(c, k)] =
            by_config || matches(workload) || matches(config(c).name + "/" + workload);
      }
    }
  }

  void refuse(const std::string& config, const std::string& workload, const std::string& lengths,
              const std::string& reason) {
    if (is_wanted(config, workload)) plan_.refusals.push_back({config, workload, lengths, reason});
  }
  // Whether --only keeps anything of these; an empty name stands for all.
  bool is_wanted(const std::string& config_name, const std::string& workload) const {
    if (options_.only.empty()) return true;
    for (size_t c = 0; c < plan_.study.configs.size(); ++c) {
      if (!config_name.empty() && config(c).name != config_name) continue;
      for (size_t k = 0; k < plan_.cells.size(); ++k) {
        if (named_[at(c, k)] && (workload.empty() || plan_.cells[k].workload == workload))
          return true;
      }
    }
    return false;
  }
  void close_cell(size_t cell) {
    for (size_t c = 0; c < plan_.study.configs.size(); ++c) open_[at(c, cell)] = false;
  }

  // Whole workloads without an engine, and cells longer than the model bears.
  void refuse_workloads() {
    std::set<std::string> told;
    for (size_t k = 0; k < plan_.cells.size(); ++k) {
      const eval::Cell& cell = plan_.cells[k];
      std::string reason;
      if (!eval::available(cell.kind)) {
        reason = "not available yet: the " + std::string(name_of(cell.kind)) +
                 " workload has no engine in this build";
      } else if (plan_.shape_known && plan_.shape.is_ssm() && needs_model(k)) {
        reason = "not available yet: the engine of the " +
                 std::string(name_of(plan_.shape.family)) + " family";
      }
      if (!reason.empty()) {
        close_cell(k);
        if (told.insert(cell.workload).second) refuse("", cell.workload, "", reason);
        continue;
      }
      const int64_t context = context_of(cell);
      if (!plan_.shape_known || !needs_model(k) || context <= plan_.shape.max_positions) continue;
      close_cell(k);
      refuse("", cell.workload, cell.lengths,
             std::to_string(context) + " positions, but the model has " +
                 std::to_string(plan_.shape.max_positions));
    }
  }

  std::string problem_of(const quant::QuantConfig& config) const {
    std::string problem = quant::config_problem(config, plan_.shape_known && plan_.shape.is_ssm());
    if (problem.empty() && plan_.shape_known) problem = linears_problem(plan_.shape, config);
    if (!problem.empty()) return problem;
    return calibration_problem(plan_.study, config, plan_.shape_known ? &plan_.shape : nullptr);
  }

  // A config that cannot run is refused wherever a model is needed; the others need the baseline
  // beside them.
  void refuse_configs() {
    bool all_need = true, any_needs = false;
    for (size_t k = 0; k < plan_.cells.size(); ++k) {
      all_need = all_need && needs_model(k);
      any_needs = any_needs || needs_model(k);
    }
    if (!any_needs) return;
    std::string baseline_problem = problem_of(config(index_of(plan_.study, plan_.study.baseline)));
    if (!baseline_problem.empty()) {
      baseline_problem =
          "the baseline " + plan_.study.baseline + " cannot run: " + baseline_problem;
    }
    for (size_t c = 0; c < plan_.study.configs.size(); ++c) {
      std::string problem = problem_of(config(c));
      if (problem.empty()) problem = baseline_problem;
      if (problem.empty()) continue;
      std::set<std::string> told;
      for (size_t k = 0; k < plan_.cells.size(); ++k) {
        if (!needs_model(k)) continue;
        open_[at(c, k)] = false;
        const std::string workload = all_need ? "" : plan_.cells[k].workload;
        if (told.insert(workload).second) refuse(config(c).name, workload, "", problem);
      }
    }
  }

  // Its sequences are as a perplexity's windows without overlap.
  void predict_calibration(CostInput input, size_t config) {
    if (!plan_.study.calibration || plan_.calibration_seconds > 0) return;
    if (!quant::needs_activation_ranges(plan_.study.configs[config])) return;
    eval::Cell cell;
    eval::PerplexityParams params = calibration_text(*plan_.study.calibration);
    params.window = params.stride = plan_.study.calibration->length;
    params.reference = false;
    cell.params = params;
    input.text_tokens = texts_.of(params.data).tokens;
    input.config = input.baseline;
    plan_.calibration_seconds = predict_seconds(cell, input);
  }

  void predict() {
    seconds_.assign(open_.size(), 0.0);
    std::vector<WeightCost> weights(plan_.study.configs.size());
    if (plan_.shape_known) {
      for (size_t c = 0; c < weights.size(); ++c) {
        // A refused config's formats may not fit the shapes at all.
        if (linears_problem(plan_.shape, config(c)).empty())
          weights[c] = weight_cost(plan_.shape, config(c));
      }
    }
    CostInput input;
    input.shape = plan_.shape_known ? &plan_.shape : nullptr;
    input.rates = options_.rates;
    input.baseline = weights[index_of(plan_.study, plan_.study.baseline)];
    for (size_t k = 0; k < plan_.cells.size(); ++k) {
      const uint64_t working = plan_.shape_known ? working_bytes(plan_.shape, plan_.cells[k]) : 0;
      input.text_tokens = texts_.of(plan_.cells[k]).tokens;
      for (size_t c = 0; c < weights.size(); ++c) {
        if (!open_[at(c, k)]) continue;
        input.config = weights[c];
        seconds_[at(c, k)] = predict_seconds(plan_.cells[k], input);
        if (!needs_model(k)) continue;
        predict_calibration(input, c);
        plan_.weight_bytes_max = std::max(plan_.weight_bytes_max, weights[c].resident);
        plan_.peak_bytes = std::max(plan_.peak_bytes, weights[c].resident + working);
      }
    }
  }

  // Everything that decides a run's result, as JSON; the repeat comes last and is filled in per
  // run.
  std::string content(const std::string& config_json, size_t c, size_t k,
                      const std::string& baseline_json, const std::string& cell_json) {
    const Study& study = plan_.study;
    const auto* perplexity = std::get_if<eval::PerplexityParams>(&plan_.cells[k].params);
    std::string text = "{\"baseline\":" +
                       (perplexity != nullptr && perplexity->reference ? baseline_json : "null");
    json calibration;
    if (study.calibration && reads_calibration(config(c))) {
      calibration = {{"data", study.calibration->data},
                     {"data_sha256", texts_.of(study.calibration->data).sha256},
                     {"samples", study.calibration->samples},
                     {"length", study.calibration->length}};
    }
    if (options_.backend != "cpu") text += ",\"backend\":" + json(options_.backend).dump();
    text += ",\"calibration\":" + calibration.dump() + ",\"cell\":" + cell_json +
            ",\"compute\":" + json(options_.compute).dump() + ",\"config\":" + config_json;
    text += ",\"config_name\":" + json(config(c).name).dump();
    text += ",\"data_sha256\":" + json(texts_.of(plan_.cells[k]).sha256).dump();
    text += ",\"model\":" +
            json(plan_.model_fingerprint.empty() ? study.model : plan_.model_fingerprint).dump();
    text += ",\"schema_version\":" + std::to_string(record::schema::version);
    return text + ",\"seed\":" + std::to_string(study.seed) + ",\"repeat\":";
  }

  void count_runs() const {
    int64_t count = 0;
    for (size_t c = 0; c < plan_.study.configs.size(); ++c) {
      for (size_t k = 0; k < plan_.cells.size(); ++k) count += open_[at(c, k)] ? repeats_[k] : 0;
    }
    refuse_count(count, "runs");
  }

  void add_runs() {
    count_runs();
    std::vector<std::string> config_json, cell_json;
    for (const quant::QuantConfig& one : plan_.study.configs)
      config_json.push_back(quant::to_json(one).dump());
    for (const eval::Cell& cell : plan_.cells) cell_json.push_back(eval::to_json(cell).dump());
    const std::string& baseline_json = config_json[index_of(plan_.study, plan_.study.baseline)];
    std::vector<std::string> contents(open_.size()), folders(open_.size());
    const int64_t most = repeats_.empty() ? 0 : *std::max_element(repeats_.begin(), repeats_.end());
    for (int64_t repeat = 0; repeat < most; ++repeat) {
      for (size_t k = 0; k < plan_.cells.size(); ++k) {
        for (size_t c = 0; c < config_json.size() && repeat < repeats_[k]; ++c) {
          const size_t i = at(c, k);
          if (!open_[i]) continue;
          if (repeat == 0) {
            contents[i] = content(config_json[c], c, k, baseline_json, cell_json[k]);
            folders[i] = folder_of(c, k);
          }
          add_run(c, k, repeat, contents[i], folders[i]);
        }
      }
    }
    add_sentinels(contents, folders);
    if (plan_.runs.empty() && !options_.only.empty()) {
      throw_invalid("--only keeps no run",
                    "no run id, config, workload, config/workload or path matches",
                    "look at the names in --plan");
    }
  }

  // More runs of the A/A duplicate on the cheapest timed cell, so that drift of the machines in
  // time is seen. Cheapest by its lengths: predicted costs depend on the machine, run ids must not.
  void add_sentinels(const std::vector<std::string>& contents,
                     const std::vector<std::string>& folders) {
    const Study& study = plan_.study;
    const int64_t count =
        study.sentinel == 0 ? 0 : static_cast<int64_t>(plan_.runs.size()) / study.sentinel;
    for (size_t c = 0; c < study.configs.size() && count > 0; ++c) {
      if (study.configs[c].duplicate_of.empty()) continue;
      const auto cell = sentinel_cell(c);
      if (!cell || contents[at(c, *cell)].empty()) return;
      for (int64_t i = 0; i < count; ++i) {
        const size_t before = plan_.runs.size();
        add_run(c, *cell, repeats_[*cell] + i, contents[at(c, *cell)], folders[at(c, *cell)]);
        if (plan_.runs.size() > before) plan_.runs.back().sentinel = true;
      }
      return;
    }
  }
  std::optional<size_t> sentinel_cell(size_t config) const {
    std::optional<size_t> cheapest;
    const auto length = [&](size_t k) {
      const auto* synthetic = std::get_if<eval::SyntheticParams>(&plan_.cells[k].params);
      return synthetic != nullptr ? synthetic->length : context_of(plan_.cells[k]);
    };
    for (size_t k = 0; k < plan_.cells.size(); ++k) {
      const eval::WorkloadKind kind = plan_.cells[k].kind;
      const bool timed =
          kind == eval::WorkloadKind::profile || kind == eval::WorkloadKind::synthetic;
      if (!timed || !open_[at(config, k)] || repeats_[k] == 0) continue;
      if (!cheapest || length(k) < length(*cheapest)) cheapest = k;
    }
    return cheapest;
  }

  std::string folder_of(size_t c, size_t k) const {
    const eval::Cell& cell = plan_.cells[k];
    for (const std::string& name : {config(c).name, cell.workload, cell.lengths}) {
      expect(is_safe_name(name), "names of configs, workloads and lengths are fit for folders");
    }
    return "results/" + config(c).name + "/" + cell.workload + "/" + cell.lengths + "/r";
  }

  void add_run(size_t c, size_t k, int64_t repeat, const std::string& content,
               const std::string& folder) {
    Run run;
    const std::string number = std::to_string(repeat);
    run.id = sha256_hex(std::string_view(content + number + "}")).substr(0, 16);
    run.config = c;
    run.cell = k;
    run.repeat = repeat;
    run.cost = seconds_[at(c, k)];
    run.path = folder + number + ".h5";
    if (named_[at(c, k)] || matches(run.id) || matches(run.path))
      plan_.runs.push_back(std::move(run));
  }

  const PlanOptions& options_;
  Plan plan_;
  Texts texts_;
  std::vector<int64_t> repeats_;  // [n_cells]
  std::vector<char> open_;        // [n_configs * n_cells]: not refused
  std::vector<char> named_;       // [n_configs * n_cells]: --only keeps it by name
  std::vector<double> seconds_;   // [n_configs * n_cells]
};

}  // namespace

Plan make_plan(const Study& study, const PlanOptions& options) {
  expect(!study.configs.empty(), "a study has configs");
  return Planner(study, options).make();
}

}  // namespace qsweep::sweep
