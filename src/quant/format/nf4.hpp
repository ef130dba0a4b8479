// nf4 (bitsandbytes): 16 levels at quantiles of a normal distribution, scaled so that the largest
// weight of a block is +-1; scale = absmax. A weight takes the upper of two levels where it lies
// strictly above the threshold between them. The tensor is flattened row-major; blocks ignore rows;
// the first of a pair stands in the HIGH nibble.
#pragma once

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

struct Nf4 {
  static constexpr FormatId id = FormatId::nf4;
  static constexpr int bits = 4;
  static constexpr bool scaled = true;
  static constexpr bool integer = false;
  static constexpr bool flattened = true;
  static constexpr bool high_first = true;
  static constexpr float range = 1.0f;

  QSWEEP_HD static constexpr float level(uint32_t code) {
    constexpr float levels[16] = {-1.0f,
                                  -0.6961928009986877f,
                                  -0.5250730514526367f,
                                  -0.39491748809814453f,
                                  -0.28444138169288635f,
                                  -0.18477343022823334f,
                                  -0.09105003625154495f,
                                  0.0f,
                                  0.07958029955625534f,
                                  0.16093020141124725f,
                                  0.24611230194568634f,
                                  0.33791524171829224f,
                                  0.44070982933044434f,
                                  0.5626170039176941f,
                                  0.7229568362236023f,
                                  1.0f};
    return levels[code];
  }
  // normalized = w / absmax (a true division, where the CUDA original multiplies by the
  // reciprocal). Counting the thresholds below it has no branches, so loops vectorise.
  QSWEEP_HD static uint32_t encode(float normalized) {
    constexpr float thresholds[15] = {
        -0.8480964004993439f,  -0.6106329262256622f,  -0.4599952697753906f,   -0.33967943489551544f,
        -0.23460740596055984f, -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f,
        0.1202552504837513f,   0.2035212516784668f,   0.2920137718319893f,    0.3893125355243683f,
        0.5016634166240692f,   0.6427869200706482f,   0.8614784181118011f};
    uint32_t code = 0;
    for (const float threshold : thresholds) code += normalized > threshold ? 1u : 0u;
    return code;
  }
};

}  // namespace qsweep::quant::format
