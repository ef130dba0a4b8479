// One head of one row by one warp: norm, turn by position. Shared by placing heads and attending.
#pragma once

#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {

// 1 / sqrt(mean(x^2) + eps) of one head.
__device__ inline float head_norm_factor(const float* x, int64_t dim, double eps) {
  float squares = 0;
  for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) squares += x[i] * x[i];
  const float mean = over_warp(squares, Add{}) / static_cast<float>(dim);
  return 1.0f / sqrtf(mean + static_cast<float>(eps));
}

// Elements i and i + dim / 2 of a head, turned.
struct TurnedPair {
  float first, second;
};
__device__ inline TurnedPair turn_pair(device::Compute compute, float a, float b, float cos,
                                       float sin) {
  return {stored(compute, stored(compute, a * cos) - stored(compute, b * sin)),
          stored(compute, stored(compute, b * cos) + stored(compute, a * sin))};
}

// keep(i, value) for every element of the turned head. norm: weights [dim] or null; cos, sin
// [dim / 2] of the row. Both elements of a pair are read before either is kept, so x may be
// overwritten.
template <class Keep>
__device__ void turn_head(device::Compute compute, const float* x, int64_t dim, const float* norm,
                          double eps, const float* cos, const float* sin, Keep keep) {
  const int half = static_cast<int>(dim) / 2;
  const float factor = norm != nullptr ? head_norm_factor(x, dim, eps) : 1.0f;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x) % warp_size; i < half; i += warp_size) {
    float a = x[i], b = x[i + half];
    if (norm != nullptr) {
      a = stored(compute, norm[i] * stored(compute, a * factor));
      b = stored(compute, norm[i + half] * stored(compute, b * factor));
    }
    const TurnedPair turned = turn_pair(compute, a, b, cos[i], sin[i]);
    keep(i, turned.first);
    keep(i + half, turned.second);
  }
}

}  // namespace qsweep::kernels::cuda
