// A config by its name in a study, for the commands that take one, and the model under it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "model/model.hpp"
#include "quant/config.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::app {

struct StudyConfig {
  std::optional<sweep::Study> study;  // none: the checkpoint as it is
  quant::QuantConfig config;
};

// Both empty: no study and the empty config. Throws where only one is given, the name is unknown,
// or the config cannot run.
StudyConfig config_of_study(const std::string& study_file, const std::string& name, bool ssm);

// Calibrates first where the config has static activation scales; `tell` gets a line about that.
std::shared_ptr<model::Model> build_model(
    const StudyConfig& wanted, const std::shared_ptr<const model::Checkpoint>& checkpoint,
    const device::Context& context, const std::function<void(const std::string&)>& tell,
    model::LoadReport* report = nullptr);

}  // namespace qsweep::app
