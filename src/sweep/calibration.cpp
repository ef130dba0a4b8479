#include "sweep/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/text_table.hpp"
#include "model/activation_ranges.hpp"
#include "model/quantized_io.hpp"
#include "sweep/plan/calibration_plan.hpp"
#include "sweep/plan/text_tokens.hpp"

namespace qsweep::sweep {

bool needs_calibration(const model::Checkpoint& checkpoint, const quant::QuantConfig& config) {
  if (!quant::needs_activation_ranges(config)) return false;
  const auto file = model::read_quantization(checkpoint.folder());
  return !file || file->dequantized;
}

model::ActivationRanges calibrate(const Calibrator& calibrator, const device::Context& context,
                                  const model::Model* base) {
  const Study& study = calibrator.study;
  expect(study.calibration.has_value(), "the planner refuses what needs calibration without it");
  const Calibration& asked = *study.calibration;
  const Stopwatch watch;
  const eval::TokenizedText text = tokens_of(study, calibration_text(asked), calibrator.tokenizer,
                                             calibrator.checkpoint->folder());
  const std::span<const int32_t> tokens = text.tokens;
  std::vector<std::span<const int32_t>> sequences;
  const auto length = static_cast<size_t>(asked.length);
  for (size_t begin = 0; begin < tokens.size(); begin += length)
    sequences.push_back(tokens.subspan(begin, std::min(length, tokens.size() - begin)));
  // Not among the kernels of a run.
  device::Context own = context;
  own.calls = nullptr;
  const auto model = model::build_model(calibrator.checkpoint, {}, own, base);
  auto ranges = model::measure_activation_ranges(own, *model, sequences, calibrator.check_stop);
  calibrator.log(fmt::format(
      "calibrated {} on {} tokens of {}: {} of up to {} tokens, {} asked for, in {:.3f} s",
      plural(ranges.size(), "range"), tokens.size(), asked.data,
      plural(sequences.size(), "sequence"), asked.length, asked.samples, watch.seconds()));
  return ranges;
}

}  // namespace qsweep::sweep
