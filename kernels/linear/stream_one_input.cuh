// How linear/stream_one lays out its row of x in shared memory.
//
// Beside bf16 weights it stays bf16; beside other floating-point weights it becomes fp16, as in
// stream_input.cuh. Beside integer codes it becomes an integer too: multiplied by the power of two
// that brings its largest magnitude to [2^29, 2^30) and rounded, which is an error of 2^-30 of that
// magnitude at most, and written in four signed digits of base 256, x = sum_d digit_d 256^d. The
// tensor cores multiply codes and digits as 8-bit integers, exactly; each digit is a column of the
// right operand.
#pragma once

#include "kernels/cuda/cache.cuh"
#include "kernels/linear/stream_codes.cuh"
#include "kernels/linear/stream_one.cuh"

namespace qsweep::kernels::cuda {

// Integer codes as the tensor cores take them: `times` the code.
template <class F>
struct IntegerCodes {
  static constexpr bool any = false;
};
// Four bits at the top of a byte are the code times 16, sign and all. Even columns are the low
// ones.
template <>
struct IntegerCodes<quant::format::Int4> {
  static constexpr bool any = true;
  static constexpr float times = 16;
  static constexpr int words_a_product = 1;
  __host__ __device__ static constexpr int column(int place) {
    return place < 4 ? 2 * place : 2 * place - 7;
  }
  __device__ static uint32_t first(const uint32_t* words) { return (words[0] << 4) & 0xF0F0F0F0u; }
  __device__ static uint32_t second(const uint32_t* words) { return words[0] & 0xF0F0F0F0u; }
};
template <>
struct IntegerCodes<quant::format::Int8> {
  static constexpr bool any = true;
  static constexpr float times = 1;
  static constexpr int words_a_product = 2;
  __host__ __device__ static constexpr int column(int place) { return place; }
  __device__ static uint32_t first(const uint32_t* words) { return words[0]; }
  __device__ static uint32_t second(const uint32_t* words) { return words[1]; }
};

template <class F>
constexpr int slab_columns = slab_bytes * 8 / F::bits;

// Where eight columns of x stand, in bytes from the beginning of the row (or of each digit's row):
// lanes take 16 bytes at once, and those of two neighbouring slabs must not share banks.
template <class F>
__device__ inline uint32_t place_of(uint32_t column) {
  constexpr uint32_t lane_columns = slab_columns<F> / 4;
  const uint32_t slab = column / slab_columns<F>, lane = column / lane_columns % 4;
  const uint32_t eighth = column % lane_columns / 8;
  if constexpr (IntegerCodes<F>::any) {
    constexpr uint32_t vectors = lane_columns / 16;  // of 16 bytes
    const uint32_t vector = eighth / 2 ^ (slab & (vectors - 1));
    return (slab * vectors + vector) * 64 + lane * 16 + eighth % 2 * 8;
  } else {
    constexpr uint32_t vectors = lane_columns / 8;
    return (slab * vectors + (eighth ^ (slab & (vectors - 1)))) * 64 + lane * 16;
  }
}
// From a place to that of the same thread's next vector.
template <class F>
constexpr uint32_t vector_bytes = vector_cols*(IntegerCodes<F>::any ? 1 : 2);
static_assert(vector_cols % (2 * 128) == 0);  // two slabs at most, after which places repeat
template <class F>
__host__ __device__ constexpr int staged_row_bytes(int cols) {
  return cols * (IntegerCodes<F>::any ? 4 : 2);
}

// x as bf16 holds it.
__device__ inline void round_eight(float (&x)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    const uint32_t pair = bf16_pair(x[i], x[i + 1]);
    x[i] = __uint_as_float(pair << 16);
    x[i + 1] = __uint_as_float(pair & 0xFFFF0000u);
  }
}

struct OneMagnitude {
  float squares = 0, largest = 0;  // NaN where any is

  __device__ void add(float squares_too, float magnitude) {
    squares += squares_too;
    largest = larger_or_nan(largest, magnitude);
  }
  // The same in all multiplying threads; `scratch` has one for each warp.
  __device__ void join(bool squares_too, OneMagnitude* scratch) {
    if (squares_too) squares = over_warp(squares, Add{});
    // Of numbers without a sign, and of NaN, the larger has the larger bits.
    largest = __uint_as_float(__reduce_max_sync(0xFFFFFFFFu, __float_as_uint(largest)));
    if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = *this;
    sync_threads(one_multiplier_threads);
    *this = {};
#pragma unroll
    for (int i = 0; i < one_multipliers; ++i) add(scratch[i].squares, scratch[i].largest);
  }
};

// As power_for_fp16(), for the range of integers; NaN where the sums are to be. Below 2^-90, where
// the power would leave the range of fp32, the row counts as zeros.
__device__ inline float power_for_integers(float largest) {
  if (!(largest < 0x1p100f)) return __uint_as_float(0x7FC00000u);
  if (largest < 0x1p-90f) return 1.0f;
  return __uint_as_float((127 + 29 + 127 - (__float_as_uint(largest) >> 23)) << 23);
}

// Byte d of each of four words -> word d.
__device__ inline void transpose_bytes(const uint32_t (&from)[4], uint32_t (&to)[4]) {
  const uint32_t low = __byte_perm(from[0], from[1], 0x5140);
  const uint32_t low_too = __byte_perm(from[2], from[3], 0x5140);
  const uint32_t high = __byte_perm(from[0], from[1], 0x7362);
  const uint32_t high_too = __byte_perm(from[2], from[3], 0x7362);
  to[0] = __byte_perm(low, low_too, 0x5410);
  to[1] = __byte_perm(low, low_too, 0x7632);
  to[2] = __byte_perm(high, high_too, 0x5410);
  to[3] = __byte_perm(high, high_too, 0x7632);
}

template <class F>
__device__ void put_digits(const float (&x)[8], float power, uint32_t to, int cols) {
  uint32_t digits[2][4];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t four[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // Half the base added below the top digit and taken off again makes digits signed.
      const int whole = __float2int_rn(x[IntegerCodes<F>::column(4 * half + i)] * power);
      four[i] = static_cast<uint32_t>(whole) + 0x00808080u;
    }
    transpose_bytes(four, digits[half]);
#pragma unroll
    for (int d = 0; d < 3; ++d) digits[half][d] ^= 0x80808080u;
  }
#pragma unroll
  for (int d = 0; d < 4; ++d) {
    const uint32_t pair[2] = {digits[0][d], digits[1][d]};
    store_shared(to + d * cols, pair);
  }
}

template <class F>
__device__ void put_floats(const float (&x)[8], float power, uint32_t to) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    words[i / 2] =
        Codes<F>::half ? fp16_pair(x[i] * power, x[i + 1] * power) : bf16_pair(x[i], x[i + 1]);
  }
  store_shared(to, words);
}

// Behind wait_for_previous(): reads x, norms it where that is asked for, and lays it out; returns
// what sums are to be multiplied by. Every multiplying thread takes part; they must meet before x
// is read. What `norm_weight` holds was there before.
template <class F, int Vectors>
struct OneStaging {
  const OneRow& p;
  const bool normed;
  float w[Vectors][8];  // of the norm

  template <class Use>
  __device__ void for_mine(Use use) const {
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * one_multiplier_threads + static_cast<int>(threadIdx.x)) * 8;
      if (column < p.cols) use(v, column);
    }
  }

  __device__ explicit OneStaging(const OneRow& job) : p(job), normed(job.norm_weight != nullptr) {
    if (normed) for_mine([&](int v, int column) { load_vector(p.norm_weight + column, w[v]); });
  }

  __device__ OneMagnitude magnitude_of(const float (&x)[Vectors][8]) const {
    OneMagnitude m;
    if (normed) {
      for_mine([&](int v, int) {
#pragma unroll
        for (int i = 0; i < 8; ++i) m.add(x[v][i] * x[v][i], fabsf(x[v][i] * w[v][i]));
      });
    } else {
      for_mine([&](int v, int) {
#pragma unroll
        for (int i = 0; i < 8; ++i) m.largest = larger_or_nan(m.largest, fabsf(x[v][i]));
      });
    }
    return m;
  }
  __device__ void norm(float (&x)[8], const float (&weights)[8], float factor) const {
#pragma unroll
    for (float& value : x) value *= factor;
    round_eight(x);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] *= weights[i];
    round_eight(x);
  }

  // `meanwhile()`: while x is on its way.
  template <class Meanwhile>
  __device__ float run(uint32_t staged, OneMagnitude* scratch, Meanwhile meanwhile) const {
    constexpr bool integers = IntegerCodes<F>::any, scales = integers || Codes<F>::half;
    float x[Vectors][8];
    for_mine([&](int v, int column) { load_vector(p.x + column, x[v]); });
    meanwhile();
    float factor = 1, power = 1;
    if (normed || scales) {
      OneMagnitude m = magnitude_of(x);
      m.join(normed, scratch);
      if (normed) factor = rsqrtf(m.squares * p.inverse_cols + p.norm_eps);
      const float largest = m.largest * factor;
      if (scales) power = integers ? power_for_integers(largest) : power_for_fp16(largest);
    }
    const uint32_t place = staged + place_of<F>(threadIdx.x * 8);
    for_mine([&](int v, int) {
      if (normed) norm(x[v], w[v], factor);
      const uint32_t to = place + static_cast<uint32_t>(v) * vector_bytes<F>;
      if constexpr (integers) {
        put_digits<F>(x[v], power, to, p.cols);
      } else {
        put_floats<F>(x[v], power, to);
      }
    });
    return 1 / power;
  }
};

}  // namespace qsweep::kernels::cuda
