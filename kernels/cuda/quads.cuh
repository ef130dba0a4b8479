// Passes over the elements of matrices: four consecutive ones of a row a thread. What a warp takes
// at once is then without gaps in fp32 (16 bytes a thread) as in bf16 (8 bytes), and its stores
// fill whole sectors; eight a thread would store fp32 in two halves of each sector.
#pragma once

#include <algorithm>

#include "base/half.hpp"
#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {

constexpr int quad_threads = 256;

// Whether rows from here on, `stride` elements apart, begin where one access may take a quad.
template <class T>
bool takes_quads(const T* from, int64_t stride) {
  return reinterpret_cast<uintptr_t>(from) % (4 * sizeof(T)) == 0 && stride % 4 == 0;
}

// For for_quads() over [rows, cols], both positive.
inline Grid quad_grid(int64_t rows, int64_t cols) {
  constexpr int64_t most_rows = 65535;  // of a grid
  const unsigned across = blocks_for(cols, int64_t{4} * quad_threads).x;
  return {dim3(across, static_cast<unsigned>(std::min(rows, most_rows))), dim3(quad_threads)};
}

// use(row, column, left): `left` elements of the row stand from `column` on.
template <class Use>
__device__ void for_quads(int64_t rows, int64_t cols, Use use) {
  const int64_t column = 4 * (int64_t{blockIdx.x} * quad_threads + threadIdx.x);
  if (column >= cols) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) use(row, column, cols - column);
}

// The next four elements; not `Whole`: or the `left` that there are, and zeros. Whole rows have a
// multiple of four elements and take quads.
template <bool Whole>
__device__ void load_quad(const float* from, int64_t left, float (&to)[4]) {
  if constexpr (Whole) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x;
    to[1] = v.y;
    to[2] = v.z;
    to[3] = v.w;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = i < left ? from[i] : 0.0f;
  }
}
template <bool Whole>
__device__ void load_quad(const uint16_t* from, int64_t left, float (&to)[4]) {
  if constexpr (Whole) {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    to[0] = __uint_as_float(v.x << 16);
    to[1] = __uint_as_float(v.x & 0xFFFF0000u);
    to[2] = __uint_as_float(v.y << 16);
    to[3] = __uint_as_float(v.y & 0xFFFF0000u);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i] = i < left ? bf16_to_float(from[i]) : 0.0f;
  }
}

template <bool Whole>
__device__ void store_quad(float* to, int64_t left, const float (&from)[4]) {
  if constexpr (Whole) {
    // Plain assignments come out as four stores.
    __stwb(reinterpret_cast<float4*>(to), make_float4(from[0], from[1], from[2], from[3]));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < left) to[i] = from[i];
    }
  }
}
// Rounded to bf16.
template <bool Whole>
__device__ void store_quad(uint16_t* to, int64_t left, const float (&from)[4]) {
  if constexpr (Whole) {
    __stwb(reinterpret_cast<uint2*>(to),
           make_uint2(bf16_pair(from[0], from[1]), bf16_pair(from[2], from[3])));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < left) to[i] = float_to_bf16(from[i]);
    }
  }
}

// stored() of four values.
__device__ inline void round_quad(device::Compute compute, float (&value)[4]) {
  if (compute == device::Compute::fp32) return;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const uint32_t pair = bf16_pair(value[i], value[i + 1]);
    value[i] = __uint_as_float(pair << 16);
    value[i + 1] = __uint_as_float(pair & 0xFFFF0000u);
  }
}

}  // namespace qsweep::kernels::cuda
