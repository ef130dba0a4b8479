#include "sweep/grammar/study.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/files.hpp"
#include "sweep/grammar/claims.hpp"
#include "sweep/grammar/configs.hpp"
#include "sweep/grammar/workloads.hpp"

namespace qsweep::sweep {
namespace {

using grammar::Faults;
using grammar::MapReader;
using grammar::Node;

constexpr const char* duplicate_suffix = "_aa";
constexpr int64_t max_sentinel = 1000000;
constexpr int64_t max_samples = 1 << 20,
                  max_length = 1 << 24;  // of a calibration: texts, tokens a text
constexpr size_t max_overrides = 1000;

Repeats read_repeats(const Node& node, Faults& faults) {
  Repeats repeats;
  if (!node.is_map()) {
    repeats.min = repeats.max =
        grammar::read_integer(node, "repeats", 1, grammar::max_repeats, 1, faults);
    return repeats;
  }
  const MapReader map(node, "repeats", {"min", "max", "until"}, faults);
  if (const Node* min = map.find("min")) {
    repeats.min = grammar::read_integer(*min, "repeats.min", 1, grammar::max_repeats, 1, faults);
  }
  repeats.max = repeats.min;
  if (const Node* max = map.find("max")) {
    repeats.max =
        grammar::read_integer(*max, "repeats.max", 1, grammar::max_repeats, repeats.min, faults);
    if (repeats.max < repeats.min) {
      faults.add(max->place, "repeats.max is below repeats.min",
                 max->text + " < " + std::to_string(repeats.min));
      repeats.max = repeats.min;
    }
  }
  const Node* until = map.find("until");
  if (until == nullptr) {
    if (repeats.max > repeats.min) {
      faults.add(node.place, "repeats lacks the key 'until'",
                 "min and max differ, and nothing says when to stop",
                 "add until: {metric: profile.tpot_ms, ci95: 1%}");
    }
    return repeats;
  }
  const MapReader rule(*until, "repeats.until", {"metric", "ci95"}, faults);
  if (const Node* metric = rule.need("metric")) {
    repeats.until_metric = grammar::read_text(*metric, "repeats.until.metric", faults);
  }
  if (const Node* ci95 = rule.need("ci95")) {
    repeats.until_ci95 =
        grammar::read_real(*ci95, "repeats.until.ci95", 1e-6, 10, 0.01, faults, true);
  }
  return repeats;
}

Calibration read_calibration(const Node& node, Faults& faults) {
  Calibration calibration;
  const MapReader map(node, "calibration", {"data", "samples", "length"}, faults);
  if (const Node* data = map.need("data")) {
    calibration.data = grammar::read_text(*data, "calibration.data", faults);
  }
  if (const Node* samples = map.find("samples")) {
    calibration.samples =
        grammar::read_integer(*samples, "calibration.samples", 1, max_samples, 128, faults);
  }
  if (const Node* length = map.find("length")) {
    calibration.length =
        grammar::read_integer(*length, "calibration.length", 1, max_length, 2048, faults);
  }
  return calibration;
}

// The named baseline, else the first config with an empty body, else the first.
std::string choose_baseline(const Node* named, const std::vector<grammar::NamedConfig>& configs,
                            Faults& faults) {
  std::vector<std::string> names;
  for (const auto& one : configs) names.push_back(one.config.name);
  if (named != nullptr) {
    const std::string name = grammar::read_text(*named, "baseline", faults);
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return name;
    faults.add(named->place, "the baseline '" + name + "' is no config of this study", "",
               grammar::suggest_word(name, names));
    return name;
  }
  const auto empty =
      std::find_if(configs.begin(), configs.end(), [](const auto& one) { return one.empty; });
  if (empty != configs.end()) return empty->config.name;
  return names.empty() ? std::string() : names.front();
}

// The A/A duplicate: the baseline under another name, so that its runs give the noise floor.
void add_duplicate(const Node& configs_node, Study& study, Faults& faults) {
  const auto baseline =
      std::find_if(study.configs.begin(), study.configs.end(),
                   [&](const auto& config) { return config.name == study.baseline; });
  if (baseline == study.configs.end()) return;  // told already
  quant::QuantConfig duplicate = *baseline;
  duplicate.name += duplicate_suffix;
  duplicate.duplicate_of = study.baseline;
  const bool taken = std::any_of(study.configs.begin(), study.configs.end(),
                                 [&](const auto& config) { return config.name == duplicate.name; });
  if (taken) {
    faults.add(configs_node.place, "a config is named " + duplicate.name,
               "the noise floor's duplicate of the baseline has this name",
               "rename it, or set noise_floor: false");
  }
  grammar::check_safe_name(duplicate.name, configs_node.place, "noise floor config", faults);
  study.configs.push_back(std::move(duplicate));
}

void check_model(const Node& node, const Study& study, Faults& faults) {
  if (study.model != "none") return;
  for (const Workload& workload : study.workloads) {
    if (workload.kind == eval::WorkloadKind::synthetic) continue;
    faults.add(node.place, "model: none, but the workload " + workload.name + " needs one",
               "only synthetic workloads run without a model",
               "name a model, or remove the workload");
  }
}

std::vector<std::string> study_keys() {
  return {"study",    "model",       "seed",    "repeats",   "baseline", "noise_floor",
          "sentinel", "calibration", "configs", "workloads", "claims"};
}

void read_settings(const MapReader& map, Study& study, Faults& faults) {
  if (const Node* name = map.need("study"))
    study.name = grammar::read_safe_name(*name, "study", faults);
  if (const Node* model = map.need("model"))
    study.model = grammar::read_text(*model, "model", faults);
  if (const Node* seed = map.find("seed")) {
    study.seed = grammar::read_integer(*seed, "seed", 0, INT64_MAX, 0, faults);
  }
  if (const Node* repeats = map.find("repeats")) study.repeats = read_repeats(*repeats, faults);
  if (const Node* floor = map.find("noise_floor")) {
    study.noise_floor = grammar::read_flag(*floor, "noise_floor", true, faults);
  }
  if (const Node* sentinel = map.find("sentinel")) {
    study.sentinel = grammar::read_integer(*sentinel, "sentinel", 0, max_sentinel, 50, faults);
  }
  if (const Node* calibration = map.find("calibration"))
    study.calibration = read_calibration(*calibration, faults);
}

Study read_tree(const Node& root, const std::string& file_name, Faults& faults) {
  Study study;
  study.file = file_name;
  const MapReader map(root, "the study", study_keys(), faults);
  if (!map.ok()) return study;
  read_settings(map, study, faults);
  const Node* configs = map.need("configs");
  if (configs != nullptr) {
    std::vector<grammar::NamedConfig> named = grammar::read_configs(*configs, faults);
    study.baseline = choose_baseline(map.find("baseline"), named, faults);
    for (auto& one : named) study.configs.push_back(std::move(one.config));
    if (study.noise_floor) add_duplicate(*configs, study, faults);
  }
  if (const Node* workloads = map.need("workloads"))
    study.workloads = grammar::read_workloads(*workloads, faults);
  if (const Node* model = map.find("model")) check_model(*model, study, faults);
  if (!study.repeats.until_metric.empty()) {
    const Node& until = *map.find("repeats")->find("until");
    grammar::check_metric(study.repeats.until_metric, until.find("metric")->place, "repeats.until",
                          study, faults);
  }
  if (const Node* claims = map.find("claims"))
    study.claims = grammar::read_claims(*claims, study, faults);
  return study;
}

std::string repeats_yaml(const Repeats& repeats) {
  if (repeats.until_metric.empty() && repeats.min == repeats.max)
    return std::to_string(repeats.min);
  return "{min: " + std::to_string(repeats.min) + ", max: " + std::to_string(repeats.max) +
         ", until: {metric: " + grammar::text_yaml(repeats.until_metric) +
         ", ci95: " + grammar::number_text(repeats.until_ci95) + "}}";
}

}  // namespace

Study read_study(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) {
    throw_invalid("no study " + file.string(), "there is no such file",
                  "the shipped ones are in configs/");
  }
  return parse_study(read_file(file, grammar::max_document_bytes), file.string(), overrides);
}

Study parse_study(const std::string& yaml, const std::string& file_name,
                  const std::vector<std::string>& overrides) {
  Faults faults(file_name);
  Node root = grammar::parse_tree(yaml, 0, faults);
  faults.throw_if_any();  // a tree with faults of form would give faults of content that are none
  if (overrides.size() > max_overrides)
    throw_invalid("too many overrides", "more than 1000", "edit the study");
  for (const std::string& assignment : overrides) grammar::apply_override(root, assignment, faults);
  faults.throw_if_any();
  Study study = read_tree(root, file_name, faults);
  faults.throw_if_any();
  return study;
}

std::string to_yaml(const Study& study) {
  std::string text =
      "study: " + grammar::text_yaml(study.name) + "\nmodel: " + grammar::text_yaml(study.model) +
      "\nseed: " + std::to_string(study.seed) + "\nrepeats: " + repeats_yaml(study.repeats) +
      "\nbaseline: " + grammar::text_yaml(study.baseline) +
      "\nnoise_floor: " + (study.noise_floor ? "true" : "false") +
      "\nsentinel: " + std::to_string(study.sentinel) + "\n";
  if (study.calibration) {
    text += "calibration: {data: " + grammar::text_yaml(study.calibration->data) +
            ", samples: " + std::to_string(study.calibration->samples) +
            ", length: " + std::to_string(study.calibration->length) + "}\n";
  }
  text += "configs:\n";
  for (const quant::QuantConfig& config : study.configs) {
    if (!config.duplicate_of.empty()) continue;  // noise_floor brings it back
    text += "  " + grammar::text_yaml(config.name) + ":\n" + grammar::config_yaml(config, 4);
  }
  text += "workloads:\n";
  for (const Workload& workload : study.workloads) {
    text += "  " + grammar::text_yaml(workload.name) + ":\n" + grammar::workload_yaml(workload, 4);
  }
  text += study.claims.empty() ? "claims: {}\n" : "claims:\n";
  for (const Claim& claim : study.claims) {
    text += "  " + grammar::text_yaml(claim.name) + ": " + grammar::claim_yaml(claim) + "\n";
  }
  return text;
}

}  // namespace qsweep::sweep
