// Elements of a KV cache as kernels read and write them.
#pragma once

#include <cuda_runtime.h>

#include "base/half.hpp"
#include "kernels/attention/attention.hpp"

namespace qsweep::kernels::cuda {

__device__ inline void put(float* to, float value) {
  *to = value;
}
__device__ inline void put(uint16_t* to, float value) {
  *to = float_to_bf16(value);
}
__device__ inline float value_of(float element) {
  return element;
}
__device__ inline float value_of(uint16_t element) {
  return bf16_to_float(element);
}

// Four or eight consecutive elements of a row, of an aligned address.
template <int N>
__device__ void load_vector(const float* from, float (&out)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    out[i] = v.x;
    out[i + 1] = v.y;
    out[i + 2] = v.z;
    out[i + 3] = v.w;
  }
}
template <int N>
__device__ void load_vector(const uint16_t* from, float (&out)[N]) {
  uint32_t words[N / 2];
  if constexpr (N == 8) {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    words[0] = v.x;
    words[1] = v.y;
    words[2] = v.z;
    words[3] = v.w;
  } else {
    static_assert(N == 4);
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    words[0] = v.x;
    words[1] = v.y;
  }
#pragma unroll
  for (int i = 0; i < N / 2; ++i) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
  }
}

}  // namespace qsweep::kernels::cuda
