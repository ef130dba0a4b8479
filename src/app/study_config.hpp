// Picks one config out of a study, for the commands that work on a single model.
#pragma once

#include <string>

#include "quant/config.hpp"

namespace qsweep::app {

// The config `name` of the study file; an empty file gives the unquantized config. Throws
// Error{invalid_input} for an unknown name, Error{unavailable} for a config that cannot run.
quant::QuantConfig config_of_study(const std::string& study_file, const std::string& name,
                                   bool ssm);

}  // namespace qsweep::app
