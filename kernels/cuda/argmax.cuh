// Index of a row's largest value by a whole block: the first of equals, NaN never, 0 if all are
// NaN.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {

struct Best {
  float value;
  int32_t index;
};

struct Better {
  __device__ Best operator()(Best a, Best b) const {
    const bool second = b.value > a.value || (b.value == a.value && b.index < a.index);
    return second ? b : a;
  }
};

__device__ inline Best shuffled(Best best, int step) {
  return {__shfl_xor_sync(0xFFFFFFFFu, best.value, step),
          __shfl_xor_sync(0xFFFFFFFFu, best.index, step)};
}

// Of the elements [begin, end); the same in every thread. `scratch` has a place for each warp.
__device__ inline Best best_of(const float* x, int64_t begin, int64_t end, Best* scratch) {
  constexpr int at_once = 8;  // loads under way of a thread
  Best best{-INFINITY, 0};
  for (int64_t first = begin + threadIdx.x; first < end; first += at_once * blockDim.x) {
    float value[at_once];
#pragma unroll
    for (int k = 0; k < at_once; ++k) {
      const int64_t i = first + k * blockDim.x;
      value[k] = i < end ? x[i] : -INFINITY;
    }
#pragma unroll
    for (int k = 0; k < at_once; ++k) {
      if (value[k] > best.value) best = {value[k], static_cast<int32_t>(first + k * blockDim.x)};
    }
  }
  // A thread that saw nothing above -inf claims index 0, as the host does.
  for (int step = warp_size / 2; step > 0; step /= 2) best = Better{}(best, shuffled(best, step));
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = best;
  __syncthreads();
  best = scratch[0];
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  for (int w = 1; w < warps; ++w) best = Better{}(best, scratch[w]);
  __syncthreads();
  return best;
}
__device__ inline int32_t argmax_of(const float* x, int64_t n, Best* scratch) {
  return best_of(x, 0, n, scratch).index;
}

}  // namespace qsweep::kernels::cuda
