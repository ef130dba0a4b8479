#include "app/study_config.hpp"

#include "base/error.hpp"
#include "sweep/calibration.hpp"
#include "sweep/plan/calibration_plan.hpp"

namespace qsweep::app {

StudyConfig config_of_study(const std::string& study_file, const std::string& name, bool ssm) {
  if (study_file.empty() != name.empty()) {
    throw_invalid("--study and --config belong together", "a config is named inside a study");
  }
  if (study_file.empty()) return {};
  sweep::Study study = sweep::read_study(study_file);
  std::vector<std::string> known;
  for (const quant::QuantConfig& config : study.configs) {
    if (config.name == name) {
      const std::string problem = quant::config_problem(config, ssm);
      if (!problem.empty())
        throw Error(ErrorKind::unavailable, "config " + name + " cannot run", problem);
      return {std::move(study), quant::QuantConfig(config)};
    }
    known.push_back(config.name);
  }
  const std::string near = nearest_word(name, known);
  std::string list;
  for (const std::string& word : known) list += (list.empty() ? "" : ", ") + word;
  throw_invalid("the study has no config '" + name + "'", "known are " + list,
                near.empty() ? "" : "did you mean '" + near + "'?");
}

std::shared_ptr<model::Model> build_model(
    const StudyConfig& wanted, const std::shared_ptr<const model::Checkpoint>& checkpoint,
    const device::Context& context, const std::function<void(const std::string&)>& tell,
    model::LoadReport* report) {
  model::ActivationRanges ranges;
  if (sweep::needs_calibration(*checkpoint, wanted.config)) {
    const std::string problem =
        sweep::calibration_problem(*wanted.study, wanted.config, &checkpoint->config());
    if (!problem.empty())
      throw_invalid("config " + wanted.config.name + " cannot be calibrated", problem);
    const auto tokenizer = model::Tokenizer::load(checkpoint->folder());
    sweep::Calibrator calibrator{*wanted.study, checkpoint, tokenizer};
    calibrator.log = tell;
    ranges = sweep::calibrate(calibrator, context, nullptr);
  }
  return model::build_model(checkpoint, wanted.config, context, nullptr, report,
                            model::RawWeights::read, ranges);
}

}  // namespace qsweep::app
