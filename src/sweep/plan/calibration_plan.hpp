// What a plan knows of calibration: which configs read data, whether they can, and which text.
#pragma once

#include <string>

#include "eval/cell.hpp"
#include "model/config.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep {

// Whether a config's results depend on the study's calibration.
bool reads_calibration(const quant::QuantConfig& config);

// Why a config cannot be calibrated, or empty; `shape` is null where the model is not known.
std::string calibration_problem(const Study& study, const quant::QuantConfig& config,
                                const model::ModelConfig* shape);

// The tokens that are asked for, as a text to be found and tokenized like those of perplexity.
eval::PerplexityParams calibration_text(const Calibration& calibration);

}  // namespace qsweep::sweep
