// A warp for each head of each row: norm, turn, and for keys and values the place in the cache.
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/heads/heads.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int warps = 4;

__device__ void put(const CacheView& cache, int64_t head, int64_t position, int64_t i,
                    float value) {
  const int64_t at = (head * cache.capacity + position) * cache.head_dim + i;
  if (cache.type == CacheType::fp32) {
    static_cast<float*>(cache.data)[at] = value;
  } else {
    static_cast<uint16_t*>(cache.data)[at] = float_to_bf16(value);
  }
}

// 1 / sqrt(mean(x^2) + eps) of one head.
__device__ float norm_scale(const float* x, int64_t dim, double eps) {
  float squares = 0;
  for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) squares += x[i] * x[i];
  const float mean = over_warp(squares, Add{}) / static_cast<float>(dim);
  return 1.0f / sqrtf(mean + static_cast<float>(eps));
}

__global__ void place(device::Compute compute, HeadsArgs args) {
  wait_for_previous();
  let_next_start();
  const int64_t dim = args.keys.head_dim, half = dim / 2, kv_heads = args.keys.kv_heads;
  const int64_t head = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size, r = blockIdx.y;
  if (head >= args.heads + 2 * kv_heads) return;
  const int64_t position = (args.position != nullptr ? *args.position : args.first) + r;
  float* x = args.qkv + r * args.ldqkv + head * dim;
  const int lane = threadIdx.x % warp_size;
  if (head >= args.heads + kv_heads) {
    for (int64_t i = lane; i < dim; i += warp_size) {
      put(args.values, head - args.heads - kv_heads, position, i, x[i]);
    }
    return;
  }
  const bool is_key = head >= args.heads;
  const float* norm = is_key ? args.k_norm : args.q_norm;
  const float scale = norm != nullptr ? norm_scale(x, dim, args.norm_eps) : 1.0f;
  for (int64_t i = lane; i < half; i += warp_size) {
    float a = x[i], b = x[i + half];
    if (norm != nullptr) {
      a = stored(compute, norm[i] * stored(compute, a * scale));
      b = stored(compute, norm[i + half] * stored(compute, b * scale));
    }
    const float cos = args.cos[r * half + i], sin = args.sin[r * half + i];
    const float low = stored(compute, stored(compute, a * cos) - stored(compute, b * sin));
    const float high = stored(compute, stored(compute, b * cos) + stored(compute, a * sin));
    if (is_key) {
      put(args.keys, head - args.heads, position, i, low);
      put(args.keys, head - args.heads, position, i + half, high);
    } else {
      x[i] = low;
      x[i + half] = high;
    }
  }
}

}  // namespace

void place_heads(const device::Context& context, const HeadsArgs& args) {
  count(context, "heads/place");
  // Rows are the grid's second dimension, which ends at 65535.
  constexpr int64_t most_rows = 65535;
  const int64_t heads = args.heads + 2 * args.keys.kv_heads, half = args.keys.head_dim / 2;
  for (int64_t row = 0; row < args.rows; row += most_rows) {
    HeadsArgs part = args;
    part.qkv += row * args.ldqkv;
    part.cos += row * half;
    part.sin += row * half;
    part.first += row;
    const int64_t rows = args.rows - row < most_rows ? args.rows - row : most_rows;
    launch(context, place,
           {dim3(blocks_for(heads, warps).x, static_cast<unsigned>(rows)), dim3(warps * warp_size)},
           context.compute, part);
  }
}

}  // namespace qsweep::kernels::cuda
