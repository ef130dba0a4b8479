// Static scales of activations: ranges of what enters the linears of the unquantized model, over
// the study's calibration text.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "model/model.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep {

struct Calibrator {
  const Study& study;
  std::shared_ptr<const model::Checkpoint> checkpoint;
  const model::Tokenizer& tokenizer;
  std::function<void()> check_stop = [] {};
  std::function<void(const std::string&)> log = [](const std::string&) {};
};

// Whether a config needs ranges and the checkpoint does not bring its own, packed.
bool needs_calibration(const model::Checkpoint& checkpoint, const quant::QuantConfig& config);

// Runs sequences of `calibration.length` tokens, one behind the other in the text: `samples` of
// them, or what the text has. The same ranges on every rank, as the text and the kernels are the
// same. `base`: a model of the checkpoint, for what it has not quantized; may be null. Throws
// Error{invalid_input}.
model::ActivationRanges calibrate(const Calibrator& calibrator, const device::Context& context,
                                  const model::Model* base);

}  // namespace qsweep::sweep
