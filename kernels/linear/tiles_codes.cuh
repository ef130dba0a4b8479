// 4-bit codes as exact fp16 levels for linear/tiles: two steps of two pairs for each word, their
// columns in the order of stream_codes.cuh.
#pragma once

#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

template <class F>
struct TileCodes;

// 1024 + code and 1024 + 16 code are fp16 with a unit of 1; the zero point, which makes symmetric
// codes two's complement again, is taken off exactly.
template <>
struct TileCodes<quant::format::Int4> {
  using Order = HalfWords;
  using Table = NoTable;
  struct Zero {
    uint32_t low, high;
  };
  __device__ static Zero zero(bool asymmetric, float zero_point) {
    const float z = asymmetric ? zero_point : 8.0f;
    return {fp16_pair(-1024.0f - z, -1024.0f - z), fp16_pair(-64.0f - z, -64.0f - z)};
  }
  __device__ static Pairs<2> decode(uint32_t word, bool asymmetric, const Zero& zero,
                                    const uint32_t*) {
    constexpr uint32_t sixteenths = 0x2C002C00u;
    const uint32_t codes = asymmetric ? word : word ^ 0x88888888u;
    Pairs<2> pairs;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t w = codes >> (8 * step);
      pairs.value[step][0] = fp16_pair_add((w & 0x000F000Fu) | 0x64006400u, zero.low);
      pairs.value[step][1] =
          fp16_pair_multiply_add((w & 0x00F000F0u) | 0x64006400u, sixteenths, zero.high);
    }
    return pairs;
  }
};

template <>
struct TileCodes<quant::format::Nf4> {
  using Order = Natural;
  using Table = Nf4Table;
  struct Zero {};
  __device__ static Zero zero(bool, float) { return {}; }
  __device__ static Pairs<2> decode(uint32_t word, bool, const Zero&, const uint32_t* table) {
    return Codes<quant::format::Nf4>::decode(&word, false, 0, table);
  }
};

}  // namespace qsweep::kernels::cuda
