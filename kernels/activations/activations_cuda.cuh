// Activation formats in kernels that round on their way: the format is known at run time, and both
// kinds of levels take a few instructions.
#pragma once

#include "kernels/activations/activations.hpp"
#include "kernels/cuda/intrinsics.cuh"

namespace qsweep::kernels::cuda {

struct Levels {
  bool on = false;  // else values stay as they are
  bool e4m3 = false, token = true;
  float range = 1, lowest = 0;  // of the levels
  float absmax = 0;             // calibrated, where not `token`

  // `largest`: magnitude of the row.
  __device__ float scale(float largest) const {
    return quant::format::exact_scale(token ? largest : absmax, range);
  }
  // activation_level() of x. All levels are exact in fp16 and in bf16.
  __device__ float level(float x, float scale) const {
    const float normalized = x / scale;
    if (e4m3) return e4m3_level(normalized);
    return quant::format::round_even(quant::format::clamp(normalized, lowest, range));
  }
};

// Off where nothing becomes levels: bf16 is what these kernels' values are anyway.
inline Levels levels_of(const quant::ActivationRounding& rounding) {
  Levels levels;
  if (!quant::has_scales(rounding.format.id)) return levels;
  levels.on = true;
  levels.e4m3 = rounding.format.id == quant::ActivationId::fp8_e4m3;
  levels.token = rounding.format.scale == quant::ActivationScale::token;
  levels.absmax = rounding.absmax;
  quant::format::visit_activation(rounding.format.id, [&](auto f) {
    using F = decltype(f);
    levels.range = F::range;
    if constexpr (F::integer) levels.lowest = static_cast<float>(F::lowest);
  });
  return levels;
}

}  // namespace qsweep::kernels::cuda
