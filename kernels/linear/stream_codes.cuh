// How a lane of linear/stream turns the packed codes it holds into pairs for the tensor cores.
//
// A lane holds consecutive codes of one row. They are handed out in steps of four: two pairs a
// step. `Order` says which of eight consecutive columns stand where in two steps, so that the input
// can be laid out alike. bf16 weights are multiplied as they are; codes of all other formats become
// fp16, which holds their levels exactly (nf4's to 2^-12). The input is then fp16 too, see
// stream_input.cuh.
//
// int8 becomes fp16 by way of a number between 1024 and 2048, which has a unit of 1: a mask makes
// 1024 + code, and its zero point is subtracted here. int4 is quicker still: four bits of a half
// word alone are a subnormal number, code 2^-24 or code 2^-20, which the tensor cores take like any
// other. Its columns of the second kind are divided by 16, `unit` is undone with the scales, and
// the zero point, with the 8 that makes codes unsigned, is subtracted from the sum of a slab: times
// the sum of the input there. linear_gpu_test compares with the formats' own level().
#pragma once

#include "kernels/cuda/intrinsics.cuh"
#include "quant/format/formats.hpp"

namespace qsweep::kernels::cuda {

// The power of two that brings the largest magnitude of a row to [2^14, 2^15), near the top of
// fp16; 1 where that is no number.
__device__ inline float power_for_fp16(float largest) {
  if (!(largest > 0x1p-100f && largest < 0x1p100f)) return 1.0f;
  const uint32_t exponent = __float_as_uint(largest) >> 23;  // biased by 127
  return __uint_as_float((127 + 14 + 127 - exponent) << 23);
}

// Columns of eight in the order in which two steps take them.
struct Natural {
  __host__ __device__ static constexpr int column(int place) { return place; }
};
// int4: a mask takes nibble i of the low half word and nibble i of the high one at once.
struct HalfWords {
  __host__ __device__ static constexpr int column(int place) { return place / 2 + (place % 2) * 4; }
};

// What holds for most codes.
struct WholeCodes {
  static constexpr bool offset = false;  // zero points are subtracted by decode()
  static constexpr float unit = 1;       // of the sums
  // What the column that stands at this place of eight is multiplied by.
  __host__ __device__ static constexpr float weight(int) { return 1; }
};

struct NoTable {
  static constexpr int entries = 0;
};
// nf4: for each byte of two codes the pair of their levels.
struct Nf4Table {
  static constexpr int entries = 256;
  __device__ static uint32_t entry(uint32_t byte) {
    return fp16_pair(quant::format::Nf4::level(byte >> 4), quant::format::Nf4::level(byte & 15));
  }
};

// Pairs of a unit of one or two words of codes.
template <int Steps>
struct Pairs {
  uint32_t value[Steps][2];
};

// Weights that are multiplied as they are.
template <bool IsHalf>
struct PlainCodes : WholeCodes {
  using Order = Natural;
  using Table = NoTable;
  static constexpr bool half = IsHalf;
  static constexpr int words_a_unit = 2, steps = 1;
  __device__ static uint32_t zero_word(float) { return 0; }
  __device__ static Pairs<1> decode(const uint32_t* words, bool, uint32_t, const uint32_t*) {
    return {{{words[0], words[1]}}};
  }
};

template <class F>
struct Codes;

template <>
struct Codes<quant::format::Bf16> : PlainCodes<false> {};
template <>
struct Codes<quant::format::Fp16> : PlainCodes<true> {};

template <>
struct Codes<quant::format::Int4> {
  using Order = HalfWords;
  using Table = NoTable;
  static constexpr bool half = true, offset = true;
  static constexpr int words_a_unit = 1, steps = 2;
  static constexpr float unit = 0x1p24f;
  static constexpr float zero = 8;  // of symmetric codes: two's complement, made unsigned
  __host__ __device__ static constexpr float weight(int place) {
    return place % 4 < 2 ? 1.0f : 0x1p-4f;
  }
  __device__ static uint32_t zero_word(float zero_point) { return __float_as_uint(zero_point); }
  __device__ static Pairs<2> decode(const uint32_t* words, bool asymmetric, uint32_t,
                                    const uint32_t*) {
    const uint32_t low = asymmetric ? 0 : 0x00080008u, high = asymmetric ? 0 : 0x00800080u;
    Pairs<2> pairs;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t w = words[0] >> (8 * step);
      pairs.value[step][0] = (w & 0x000F000Fu) ^ low;
      pairs.value[step][1] = (w & 0x00F000F0u) ^ high;
    }
    return pairs;
  }
};

template <>
struct Codes<quant::format::Int8> : WholeCodes {
  using Order = Natural;
  using Table = NoTable;
  static constexpr bool half = true;
  static constexpr int words_a_unit = 1, steps = 1;
  __device__ static uint32_t zero_word(float zero) {
    return fp16_pair(-1024.0f - zero, -1024.0f - zero);
  }
  // Differences are integers up to 255: exact.
  __device__ static Pairs<1> decode(const uint32_t* words, bool asymmetric, uint32_t zero,
                                    const uint32_t*) {
    const uint32_t w = asymmetric ? words[0] : words[0] ^ 0x80808080u;  // two's complement + 128
    const uint32_t offset = asymmetric ? zero : 0xE480E480u;            // -(1024 + 128)
    return {{{fp16_pair_add(__byte_perm(w, 0x64646464u, 0x4140u), offset),
              fp16_pair_add(__byte_perm(w, 0x64646464u, 0x4342u), offset)}}};
  }
};

template <>
struct Codes<quant::format::Fp8E4m3> : WholeCodes {
  using Order = Natural;
  using Table = NoTable;
  static constexpr bool half = true;
  static constexpr int words_a_unit = 1, steps = 1;
  __device__ static uint32_t zero_word(float) { return 0; }
  __device__ static Pairs<1> decode(const uint32_t* words, bool, uint32_t, const uint32_t*) {
    return {{{fp16_pair_of_e4m3(words[0] & 0xFFFFu), fp16_pair_of_e4m3(words[0] >> 16)}}};
  }
};

template <>
struct Codes<quant::format::Nf4> : WholeCodes {
  using Order = Natural;
  using Table = Nf4Table;
  static constexpr bool half = true;
  static constexpr int words_a_unit = 1, steps = 2;
  __device__ static uint32_t zero_word(float) { return 0; }
  __device__ static Pairs<2> decode(const uint32_t* words, bool, uint32_t, const uint32_t* table) {
    Pairs<2> pairs;
#pragma unroll
    for (int i = 0; i < 4; ++i) pairs.value[i / 2][i % 2] = table[(words[0] >> (8 * i)) & 255u];
    return pairs;
  }
};

}  // namespace qsweep::kernels::cuda
