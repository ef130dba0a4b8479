// 4-bit codes as exact fp16 levels for linear/tiles (nf4's to 2^-12): two steps of two pairs for
// each word, their columns in the order of stream_codes.cuh.
#pragma once

#include "base/half.hpp"
#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

template <class F>
struct TileCodes;

// 1024 + code and 1024 + 16 code are fp16 with a unit of 1; the zero point is taken off exactly.
// Symmetric codes are two's complement: with their highest bit turned over they are unsigned ones
// with a zero point of 8.
template <>
struct TileCodes<quant::format::Int4> {
  using Order = HalfWords;
  struct Zero {
    uint32_t low, high;
  };
  __device__ static Zero zero(float z) {
    return {fp16_pair(-1024.0f - z, -1024.0f - z), fp16_pair(-64.0f - z, -64.0f - z)};
  }
  uint32_t low_bits, high_bits;  // what becomes of four bits alone: all else of fp16, and a bit
  __device__ explicit TileCodes(bool asymmetric)
      : low_bits(asymmetric ? 0x64006400u : 0x64086408u),
        high_bits(asymmetric ? 0x64006400u : 0x64806480u) {}

  __device__ Pairs<2> decode(uint32_t word, const Zero& zero) const {
    constexpr uint32_t sixteenths = 0x2C002C00u;
    Pairs<2> pairs;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t w = word >> (8 * step);
      pairs.value[step][0] = fp16_pair_add((w & 0x000F000Fu) ^ low_bits, zero.low);
      pairs.value[step][1] =
          fp16_pair_multiply_add((w & 0x00F000F0u) ^ high_bits, sixteenths, zero.high);
    }
    return pairs;
  }
};

// Levels are looked up a byte of fp16 at a time, for four codes at once, in registers: the lower
// three bits of a code choose among eight bytes, its highest between what two such choices gave.
// From a table in shared memory the lanes' words would come one after another.
template <>
struct TileCodes<quant::format::Nf4> {
  using Order = Natural;
  struct Zero {};
  __device__ static Zero zero(float) { return {}; }
  __device__ explicit TileCodes(bool) {}

  // Bytes of the levels of four codes from `first` on: the low ones or the high ones.
  static constexpr uint32_t bytes_of(uint32_t first, int shift) {
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < 4; ++i) {
      const uint32_t level = float_to_fp16(quant::format::Nf4::level(first + i));
      bytes |= (level >> shift & 255u) << (8 * i);
    }
    return bytes;
  }
  template <int Shift>
  __device__ static uint32_t look_up(uint32_t low_three, uint32_t half) {
    constexpr uint32_t a = bytes_of(0, Shift), b = bytes_of(4, Shift);
    constexpr uint32_t c = bytes_of(8, Shift), d = bytes_of(12, Shift);
    return __byte_perm(__byte_perm(a, b, low_three), __byte_perm(c, d, low_three), half);
  }
  // The first of two codes stands in the upper half of their byte.
  __device__ Pairs<2> decode(uint32_t word, const Zero&) const {
    Pairs<2> pairs;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t codes = word >> (16 * step);
      const uint32_t low_three = codes & 0x7777u, half = (codes >> 1 & 0x4444u) | 0x3210u;
      const uint32_t low = look_up<0>(low_three, half), high = look_up<8>(low_three, half);
      pairs.value[step][0] = __byte_perm(low, high, 0x4051u);
      pairs.value[step][1] = __byte_perm(low, high, 0x6273u);
    }
    return pairs;
  }
};

}  // namespace qsweep::kernels::cuda
