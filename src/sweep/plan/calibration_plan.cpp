#include "sweep/plan/calibration_plan.hpp"

#include <set>
#include <utility>

#include "eval/workload.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

bool reads_calibration(const quant::QuantConfig& config) {
  return !config.transforms.empty() || config.method.id != quant::MethodId::rtn ||
         quant::needs_activation_ranges(config);
}

std::string calibration_problem(const Study& study, const quant::QuantConfig& config,
                                const model::ModelConfig* shape) {
  if (!quant::needs_activation_ranges(config)) return {};
  if (!study.calibration) {
    return "static activation scales come from calibration data, and the study names none; add "
           "calibration: {data: wikitext2_train}, or take activations: " +
           std::string(name_of(config.activations.id)) + "/token";
  }
  if (shape != nullptr && study.calibration->length > shape->max_positions) {
    return "calibration sequences of " + std::to_string(study.calibration->length) +
           " tokens, but the model has " + std::to_string(shape->max_positions) +
           " positions; lower calibration.length";
  }
  return {};
}

eval::PerplexityParams calibration_text(const Calibration& calibration) {
  eval::PerplexityParams text;
  text.data = calibration.data;
  text.max_tokens = calibration.samples * calibration.length;
  return text;
}

std::vector<eval::PerplexityParams> texts_of(const Plan& plan) {
  std::vector<eval::PerplexityParams> texts;
  std::set<std::pair<std::string, int64_t>> seen;
  const auto add = [&](const eval::PerplexityParams& text) {
    if (seen.emplace(text.data, text.max_tokens).second) texts.push_back(text);
  };
  for (const Run& run : plan.runs) {
    const eval::Cell& cell = plan.cells[run.cell];
    if (const auto* params = std::get_if<eval::PerplexityParams>(&cell.params)) add(*params);
    const bool calibrated = eval::needs_model(cell.kind) &&
                            quant::needs_activation_ranges(plan.study.configs[run.config]);
    if (calibrated) add(calibration_text(plan.study.calibration.value()));
  }
  return texts;
}

}  // namespace qsweep::sweep
