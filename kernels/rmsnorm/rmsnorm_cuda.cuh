// RMSNorm of one vector by a block: squares summed by thread, then by warp, then over the warps, in
// an order that depends on the vector's length alone. linears() by cuBLAS norms with it too.
#pragma once

#include "kernels/common.hpp"
#include "kernels/cuda/quads.cuh"

namespace qsweep::kernels::cuda {

constexpr int most_norm_threads = 512;

// Threads of the block: two quads each, while there are enough.
inline dim3 norm_threads(int64_t dim) {
  const int64_t warps = tiles(dim, 8 * warp_size), most = most_norm_threads / warp_size;
  return dim3(static_cast<unsigned>(std::min(warps, most) * warp_size));
}

// y [dim] = weight * (x / sqrt(mean(x^2) + eps)), rounded as rmsnorm.hpp says; y may be x.
template <bool Whole, class Out>
__device__ void norm_vector(device::Compute compute, const float* x, const float* weight, int dim,
                            float eps, Out* y) {
  constexpr int held = 2;  // quads that a thread keeps; what is beyond 4096 elements it reads again
  __shared__ float scratch[most_norm_threads / warp_size];
  const int begin = 4 * static_cast<int>(threadIdx.x), step = 4 * static_cast<int>(blockDim.x);
  float value[held][4] = {}, squares = 0;
  const auto add_squares = [&](const float(&quad)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) squares += quad[i] * quad[i];
  };
#pragma unroll
  for (int k = 0; k < held; ++k) {
    const int at = begin + k * step;
    if (at < dim) load_quad<Whole>(x + at, dim - at, value[k]);
  }
#pragma unroll
  for (int k = 0; k < held; ++k) add_squares(value[k]);
  for (int at = begin + held * step; at < dim; at += step) {
    float quad[4];
    load_quad<Whole>(x + at, dim - at, quad);
    add_squares(quad);
  }
  squares = over_block(squares, scratch, Add{});
  const float mean = squares / static_cast<float>(dim);
  const float scale = 1.0f / sqrtf(mean + eps);
  const auto finish = [&](int at, float(&quad)[4]) {
    float w[4];
    load_quad<Whole>(weight + at, dim - at, w);
#pragma unroll
    for (float& v : quad) v *= scale;
    round_quad(compute, quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) quad[i] *= w[i];
    if constexpr (sizeof(Out) == 4) round_quad(compute, quad);
    store_quad<Whole>(y + at, dim - at, quad);
  };
#pragma unroll
  for (int k = 0; k < held; ++k) {
    if (begin + k * step < dim) finish(begin + k * step, value[k]);
  }
  for (int at = begin + held * step; at < dim; at += step) {
    float quad[4];
    load_quad<Whole>(x + at, dim - at, quad);
    finish(at, quad);
  }
}

}  // namespace qsweep::kernels::cuda
