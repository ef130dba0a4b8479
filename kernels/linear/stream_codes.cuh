// How a lane of linear/stream turns the packed codes it holds into pairs for the tensor cores.
//
// A lane holds consecutive codes of one row. They are handed out in steps of four: two pairs a
// step. `Order` says which of eight consecutive columns stand where in two steps, so that the input
// can be laid out alike. bf16 weights are multiplied as they are; codes of all other formats become
// fp16, which holds their levels exactly (nf4's to 2^-12) and is quick to make: a number between
// 1024 and 2048 has a unit of 1, so that a mask makes 1024 + code. The input is then fp16 too, see
// stage_input(). Zero points are subtracted here; linear_gpu_test compares with the formats' own
// level().
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
struct PlainCodes {
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
  static constexpr bool half = true;
  static constexpr int words_a_unit = 1, steps = 2;
  // -(1024 + zero), twice.
  __device__ static uint32_t zero_word(float zero) {
    return fp16_pair(-1024.0f - zero, -1024.0f - zero);
  }
  __device__ static Pairs<2> decode(const uint32_t* words, bool asymmetric, uint32_t zero,
                                    const uint32_t*) {
    // Two's complement + 8 is the code with its highest bit turned over; 8 is then the zero point.
    const uint32_t low = asymmetric ? 0x64006400u : 0x64086408u;
    const uint32_t high = asymmetric ? 0x64006400u : 0x64806480u;
    const uint32_t low_zero = asymmetric ? zero : 0xE408E408u;  // -(1024 + 8)
    // 1024 + 16 code, of which a sixteenth is 64 + code.
    const uint32_t high_zero = fp16_pair_add(low_zero, 0x63806380u);  // + 960
    Pairs<2> pairs;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const uint32_t w = words[0] >> (8 * step);
      pairs.value[step][0] = fp16_pair_add((w & 0x000F000Fu) ^ low, low_zero);
      pairs.value[step][1] =
          fp16_pair_multiply_add((w & 0x00F000F0u) ^ high, 0x2C002C00u, high_zero);  // 1 / 16
    }
    return pairs;
  }
};

template <>
struct Codes<quant::format::Int8> {
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
struct Codes<quant::format::Fp8E4m3> {
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
struct Codes<quant::format::Nf4> {
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
