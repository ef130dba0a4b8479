// Uniform integers of b bits.
//
// Symmetric: level = code in two's complement, clamped to [Lowest, 2^(b-1) - 1],
// scale absmax / (2^(b-1) - 1).
//
// Asymmetric: unsigned code, value (code - zero) * scale, scale (max - min) / (2^b - 1) with min
// and max forced to include 0, so that 0 is always a level.
#pragma once

#include <cstdint>

#include "quant/format/bits.hpp"

namespace qsweep::quant::format {

template <int Bits, int Lowest>
struct Integer {
  static constexpr int bits = Bits;
  static constexpr bool scaled = true;
  static constexpr bool integer = true;     // may have zero points
  static constexpr bool flattened = false;  // groups end with their row
  static constexpr int lowest = Lowest;
  static constexpr int highest = (1 << (Bits - 1)) - 1;
  static constexpr int max_unsigned = (1 << Bits) - 1;
  static constexpr float range = static_cast<float>(highest);  // scale = absmax / range

  QSWEEP_HD static float level(uint32_t code) {
    constexpr uint32_t sign = 1u << (Bits - 1);
    return static_cast<float>(static_cast<int32_t>(code ^ sign) - static_cast<int32_t>(sign));
  }
  // normalized = w / scale
  QSWEEP_HD static uint32_t encode(float normalized) {
    const float bounded =
        clamp(normalized, static_cast<float>(Lowest), static_cast<float>(highest));
    return static_cast<uint32_t>(static_cast<int32_t>(round_even(bounded))) &
           static_cast<uint32_t>(max_unsigned);
  }

  QSWEEP_HD static float unsigned_level(uint32_t code) { return static_cast<float>(code); }
  // The zero point is added after rounding, as GPTQ does; the first clamp only keeps round_even in
  // its domain.
  QSWEEP_HD static uint32_t encode_unsigned(float normalized, float zero) {
    constexpr float bound = 2.0f * max_unsigned;
    const float shifted = round_even(clamp(normalized, -bound, bound)) + zero;
    return static_cast<uint32_t>(clamp(shifted, 0.0f, static_cast<float>(max_unsigned)));
  }
};

}  // namespace qsweep::quant::format
