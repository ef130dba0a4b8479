// Scales stored as fp32, fp16 or bf16. A scale must stay positive and finite: below the smallest
// subnormal it becomes the smallest (fp16: 2^-24), beyond the largest finite value the largest.
#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

// Reads scale i of a little-endian array that may stand at any address.
template <class Stored, float (*Decode)(Stored)>
struct RawScaleReader {
  const uint8_t* data;  // [count * sizeof(Stored)]
  QSWEEP_HD float operator()(int64_t i) const {
    Stored bits;
    std::memcpy(&bits, data + i * static_cast<int64_t>(sizeof(Stored)), sizeof(Stored));
    return Decode(bits);
  }
};

QSWEEP_HD inline float fp32_from_bits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}

// Largest: bits of the largest finite value.
template <ScaleCodecId Id, class Stored, float (*Decode)(Stored), Stored (*Encode)(float),
          Stored Largest>
struct ScaleRaw {
  static constexpr ScaleCodecId id = Id;
  static constexpr bool codes_follow_exact = false;
  using Reader = RawScaleReader<Stored, Decode>;

  static int bits(const ScaleCodec&) { return 8 * static_cast<int>(sizeof(Stored)); }
  static uint64_t bytes(const ScaleCodec&, int64_t count) {
    return static_cast<uint64_t>(count) * sizeof(Stored);
  }
  QSWEEP_HD static Stored encode_one(float scale) {
    const Stored code = Encode(scale);
    if (code == 0) return 1;
    return code > Largest ? Largest : code;  // positive floats order as their bits
  }
  static void encode(const ScaleCodec&, std::span<const float> scales, uint8_t* out) {
    for (size_t i = 0; i < scales.size(); ++i) {
      const Stored code = encode_one(scales[i]);
      std::memcpy(out + i * sizeof(Stored), &code, sizeof(Stored));
    }
  }
  static Reader reader(const ScaleCodec&, const uint8_t* data, int64_t) { return {data}; }
};

QSWEEP_HD inline uint32_t fp32_to_bits(float value) {
  return std::bit_cast<uint32_t>(value);
}

using ScaleFp32 = ScaleRaw<ScaleCodecId::fp32, uint32_t, fp32_from_bits, fp32_to_bits, 0x7F7FFFFFu>;
using ScaleFp16 = ScaleRaw<ScaleCodecId::fp16, uint16_t, fp16_to_float, float_to_fp16, 0x7BFF>;
using ScaleBf16 = ScaleRaw<ScaleCodecId::bf16, uint16_t, bf16_to_float, float_to_bf16, 0x7F7F>;

}  // namespace qsweep::quant::format
