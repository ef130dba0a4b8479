// bf16, fp16, fp32: little-endian values as they stand, without scales.
#pragma once

#include <bit>

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

// What the three share; Bits is also the width of the stored value.
template <int Bits>
struct Raw {
  static constexpr int bits = Bits;
  static constexpr bool scaled = false;
  static constexpr bool integer = false;
  static constexpr bool flattened = false;
  static constexpr bool high_first = false;
  static constexpr float range = 1.0f;
};

struct Bf16 : Raw<16> {
  static constexpr FormatId id = FormatId::bf16;
  QSWEEP_HD static float level(uint32_t code) { return bf16_to_float(static_cast<uint16_t>(code)); }
  QSWEEP_HD static uint32_t encode(float value) { return float_to_bf16(value); }
};

struct Fp16 : Raw<16> {
  static constexpr FormatId id = FormatId::fp16;
  QSWEEP_HD static float level(uint32_t code) { return fp16_to_float(static_cast<uint16_t>(code)); }
  QSWEEP_HD static uint32_t encode(float value) { return float_to_fp16(value); }
};

struct Fp32 : Raw<32> {
  static constexpr FormatId id = FormatId::fp32;
  QSWEEP_HD static float level(uint32_t code) { return std::bit_cast<float>(code); }
  QSWEEP_HD static uint32_t encode(float value) { return std::bit_cast<uint32_t>(value); }
};

}  // namespace qsweep::quant::format
