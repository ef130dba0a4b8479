// E5M K scales (SMQ), bit-packed: value = 2^(e-15) * (1 + m / 2^K), e the 5-bit field, m the K-bit
// mantissa, K 0..10. Code, from the top: [sign, always 0, where kept][e][m]; 5 + K (+ 1) bits.
//
// All 32 exponent fields are normal numbers: no subnormals, infinities or NaN, so the range is
// 2^-15 .. 2^16 * (2 - 2^-K); a scale outside it saturates to the nearer end. (An all-zero group,
// whose scale is about 1e-9, becomes 2^-15; weights with absmax/7 below 3e-5 lose precision, where
// LLM scales are 1e-3 .. 1e-2.)
//
// Rounding. published (SMQ): e = floor(log2 s), m = s / 2^e - 1 to K bits, nearest-even with carry
// into e; at K = 0 the mantissa is dropped. nearest: to the nearest value, a tie to the even code
// (at K = 0: the even exponent field). up: to the smallest value that is not below s.
#pragma once

#include <bit>
#include <span>

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

struct E5mScaleReader {
  const uint8_t* data;  // bit stream of [bytes]
  uint64_t bytes;
  int width;  // bits a code
  int mantissa_bits;
  // The code's exponent and mantissa are the top bits of the float's, but for the bias (15 there,
  // 127 here).
  QSWEEP_HD static float value(uint32_t code, int mantissa_bits) {
    const uint32_t magnitude = code & ((32u << mantissa_bits) - 1u);
    return std::bit_cast<float>((magnitude + (112u << mantissa_bits)) << (23 - mantissa_bits));
  }
  QSWEEP_HD float operator()(int64_t i) const {
    return value(load_bits(data, bytes, i, width), mantissa_bits);
  }
};

struct ScaleE5m {
  static constexpr ScaleCodecId id = ScaleCodecId::e5m;
  static constexpr bool codes_follow_exact = false;
  static constexpr int max_mantissa_bits = 10;
  using Reader = E5mScaleReader;

  static int bits(const ScaleCodec& codec) {
    return 5 + codec.mantissa_bits + (codec.sign_bit ? 1 : 0);
  }
  static uint64_t bytes(const ScaleCodec& codec, int64_t count) {
    return stream_bytes(count, bits(codec));
  }

  // scale > 0, finite. Works on the float's bits: cutting 23 - K of them truncates, and adding one
  // to what is left carries from mantissa into exponent by itself.
  QSWEEP_HD static uint32_t encode_one(float scale, int mantissa_bits, ScaleRounding rounding) {
    const uint32_t pattern = std::bit_cast<uint32_t>(scale);
    const int cut = 23 - mantissa_bits;
    const uint32_t rest = pattern & ((1u << cut) - 1u);
    const uint32_t half = 1u << (cut - 1);
    uint32_t kept = pattern >> cut;
    const bool truncates = rounding == ScaleRounding::published && mantissa_bits == 0;
    if (rounding == ScaleRounding::up) {
      kept += rest != 0 ? 1u : 0u;
    } else if (!truncates) {
      // In the published definition evenness is the mantissa's; at K > 0 that is the lowest kept
      // bit. At K = 0 the lowest kept bit is the exponent's, whose field differs by 112 (even):
      // same parity.
      kept += rest > half || (rest == half && (kept & 1u) != 0) ? 1u : 0u;
    }
    const uint32_t smallest = 112u << mantissa_bits;
    const uint32_t largest = (144u << mantissa_bits) - 1u;
    return (kept < smallest ? smallest : kept > largest ? largest : kept) - smallest;
  }
  static void encode(const ScaleCodec& codec, std::span<const float> scales, uint8_t* out) {
    const int width = bits(codec);
    for (uint64_t i = 0; i < bytes(codec, static_cast<int64_t>(scales.size())); ++i) out[i] = 0;
    for (size_t i = 0; i < scales.size(); ++i) {
      store_bits(out, static_cast<int64_t>(i), width,
                 encode_one(scales[i], codec.mantissa_bits, codec.rounding));
    }
  }
  static Reader reader(const ScaleCodec& codec, const uint8_t* data, int64_t count) {
    return {data, bytes(codec, count), bits(codec), codec.mantissa_bits};
  }
};

}  // namespace qsweep::quant::format
