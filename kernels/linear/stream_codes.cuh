// How a lane of linear/stream turns the packed codes it holds into bf16 pairs for the tensor cores.
//
// A lane holds `elements` consecutive codes of one row. They are handed out in steps of four: two
// bf16 pairs a step, which the product takes as (b0, b1). `order` says which of eight consecutive
// columns stand where in two steps, so that the input can be laid out alike; `parts` is 2 where a
// level needs two bf16 numbers. Every result equals the format's own level() (bf16: bits as they
// are), the zero point subtracted; linear_gpu_test compares.
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "quant/format/formats.hpp"

namespace qsweep::kernels::cuda {

// Columns of eight in the order in which two steps take them.
struct Natural {
  __host__ __device__ static constexpr int column(int place) { return place; }
};
// int4: a mask takes nibble i of the low half word and nibble i of the high one at once.
struct HalfWords {
  __host__ __device__ static constexpr int column(int place) { return place / 2 + (place % 2) * 4; }
};

// nf4's table: for each byte of two codes the pair of rounded levels and the pair of what is left.
struct NoTable {
  static constexpr int entries = 0;
};
struct Nf4Table {
  static constexpr int entries = 256;
  __device__ static uint2 entry(uint32_t byte) {
    const float first = quant::format::Nf4::level(byte >> 4);
    const float second = quant::format::Nf4::level(byte & 15);
    const uint32_t rounded = bf16_pair(first, second);
    const float rest_first = first - __uint_as_float(rounded << 16);
    const float rest_second = second - __uint_as_float(rounded & 0xFFFF0000u);
    return {rounded, bf16_pair(rest_first, rest_second)};
  }
};

// Pairs of one 4-byte word of codes: `steps` steps of two pairs for each part.
template <int Steps, int Parts>
struct Pairs {
  uint32_t value[Parts][Steps][2];
};

template <class F>
struct Codes;

template <>
struct Codes<quant::format::Bf16> {
  using Order = Natural;
  using Table = NoTable;
  static constexpr int words_a_unit = 2, steps = 1, parts = 1;
  __device__ static uint32_t zero_word(bool, float) { return 0; }
  __device__ static Pairs<1, 1> decode(const uint32_t* words, bool, uint32_t, const uint2*) {
    return {{{{words[0], words[1]}}}};
  }
};

template <>
struct Codes<quant::format::Int4> {
  using Order = HalfWords;
  using Table = NoTable;
  static constexpr int words_a_unit = 1, steps = 2, parts = 1;
  // 128 + what a code of 0 stands for, twice: 0x4300 is 128 in bf16, whose last bit is then 1.
  __device__ static uint32_t zero_word(bool asymmetric, float zero) {
    const uint32_t offset = asymmetric ? static_cast<uint32_t>(zero) : 8u;
    return 0x43004300u | offset | offset << 16;
  }
  __device__ static Pairs<2, 1> decode(const uint32_t* words, bool asymmetric, uint32_t zero,
                                       const uint2*) {
    const uint32_t w = asymmetric ? words[0] : words[0] ^ 0x88888888u;  // two's complement + 8
    Pairs<2, 1> pairs;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t biased = ((w >> (4 * i)) & 0x000F000Fu) | 0x43004300u;
      pairs.value[0][i / 2][i % 2] = bf16_pair_subtract(biased, zero);
    }
    return pairs;
  }
};

template <>
struct Codes<quant::format::Int8> {
  using Order = Natural;
  using Table = NoTable;
  static constexpr int words_a_unit = 1, steps = 1, parts = 1;
  // 2^23 + what a code of 0 stands for, as a float.
  __device__ static uint32_t zero_word(bool asymmetric, float zero) {
    return __float_as_uint(8388608.0f + (asymmetric ? zero : 128.0f));
  }
  // A byte below the bits of 2^23 makes 2^23 + byte; differences are integers up to 255: exact.
  __device__ static Pairs<1, 1> decode(const uint32_t* words, bool asymmetric, uint32_t zero,
                                       const uint2*) {
    const uint32_t w = asymmetric ? words[0] : words[0] ^ 0x80808080u;
    const float offset = __uint_as_float(zero);
    float value[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      value[i] =
          __uint_as_float(__byte_perm(w, 0x4B000000u, 0x7440u + static_cast<unsigned>(i))) - offset;
    }
    return {{{{bf16_pair(value[0], value[1]), bf16_pair(value[2], value[3])}}}};
  }
};

template <>
struct Codes<quant::format::Fp8E4m3> {
  using Order = Natural;
  using Table = NoTable;
  static constexpr int words_a_unit = 1, steps = 1, parts = 1;
  __device__ static uint32_t zero_word(bool, float) { return 0; }
  // Exponent and mantissa moved to bf16's places make the value times 2^-120, subnormals included.
  // Codes are never NaN.
  __device__ static Pairs<1, 1> decode(const uint32_t* words, bool, uint32_t, const uint2*) {
    Pairs<1, 1> pairs;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t high = __byte_perm(words[0], 0, i == 0 ? 0x1404u : 0x3424u);  // bytes on top
      const uint32_t moved = (high & 0x80008000u) | ((high & 0x7F007F00u) >> 4);
      pairs.value[0][0][i] = bf16_pair_multiply(moved, 0x7B807B80u);  // 2^120
    }
    return pairs;
  }
};

template <>
struct Codes<quant::format::Nf4> {
  using Order = Natural;
  using Table = Nf4Table;
  static constexpr int words_a_unit = 1, steps = 2, parts = 2;
  __device__ static uint32_t zero_word(bool, float) { return 0; }
  __device__ static Pairs<2, 2> decode(const uint32_t* words, bool, uint32_t, const uint2* table) {
    Pairs<2, 2> pairs;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint2 entry = table[(words[0] >> (8 * i)) & 255u];
      pairs.value[0][i / 2][i % 2] = entry.x;
      pairs.value[1][i / 2][i % 2] = entry.y;
    }
    return pairs;
  }
};

}  // namespace qsweep::kernels::cuda
