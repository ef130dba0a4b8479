// A warp for each head of each row: norm, turn, and for keys and values the place in the cache.
#include "kernels/common.hpp"
#include "kernels/cuda/cache.cuh"
#include "kernels/heads/heads.hpp"
#include "kernels/heads/turn.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int warps = 4;

__device__ void put_at(const CacheView& cache, int64_t head, int64_t position, int64_t i,
                       float value) {
  const int64_t at = (head * cache.capacity + position) * cache.head_dim + i;
  if (cache.type == CacheType::fp32) {
    put(static_cast<float*>(cache.data) + at, value);
  } else {
    put(static_cast<uint16_t*>(cache.data) + at, value);
  }
}

__global__ void place(device::Compute compute, HeadsArgs args) {
  wait_for_previous();
  let_next_start();
  const int64_t dim = args.keys.head_dim, half = dim / 2, kv_heads = args.keys.kv_heads;
  const int64_t head = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size, r = blockIdx.y;
  if (head >= args.heads + 2 * kv_heads) return;
  const int64_t position = (args.position != nullptr ? *args.position : args.first) + r;
  float* x = args.qkv + r * args.ldqkv + head * dim;
  if (head >= args.heads + kv_heads) {
    for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) {
      put_at(args.values, head - args.heads - kv_heads, position, i, x[i]);
    }
    return;
  }
  const bool is_key = head >= args.heads;
  turn_head(compute, x, dim, is_key ? args.k_norm : args.q_norm, args.norm_eps, args.cos + r * half,
            args.sin + r * half, [&](int64_t i, float value) {
              if (is_key) {
                put_at(args.keys, head - args.heads, position, i, value);
              } else {
                x[i] = value;
              }
            });
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
