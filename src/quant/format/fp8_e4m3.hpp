// fp8_e4m3 (OCP E4M3FN): relative rounding of at most 2^-4; scale absmax / 448, beyond which it
// saturates. A byte each.
#pragma once

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

struct Fp8E4m3 {
  static constexpr FormatId id = FormatId::fp8_e4m3;
  static constexpr int bits = 8;
  static constexpr bool scaled = true;
  static constexpr bool integer = false;
  static constexpr bool flattened = false;
  static constexpr bool high_first = false;
  static constexpr float range = 448.0f;

  QSWEEP_HD static float level(uint32_t code) {
    return fp8_e4m3_to_float(static_cast<uint8_t>(code));
  }
  QSWEEP_HD static uint32_t encode(float normalized) { return float_to_fp8_e4m3(normalized); }
};

}  // namespace qsweep::quant::format
