// Appending to the cache, and which kernels attend: attention_flash_cuda.cu or
// attention_products_cuda.cu.
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 128;

__global__ void append(CacheAppendArgs args) {
  wait_for_previous();
  let_next_start();
  const CacheView& cache = args.cache;
  const int64_t width = cache.kv_heads * cache.head_dim, r = blockIdx.x;
  const int64_t first = args.position != nullptr ? *args.position : args.first;
  for (int64_t i = int64_t{blockIdx.y} * threads + threadIdx.x; i < width;
       i += int64_t{gridDim.y} * threads) {
    const int64_t head = i / cache.head_dim;
    const int64_t at = (head * cache.capacity + first + r) * cache.head_dim + i % cache.head_dim;
    const float value = args.x[r * args.ldx + i];
    if (cache.type == CacheType::fp32) {
      static_cast<float*>(cache.data)[at] = value;
    } else {
      static_cast<uint16_t*>(cache.data)[at] = float_to_bf16(value);
    }
  }
}

}  // namespace

void cache_append(const device::Context& context, const CacheAppendArgs& args) {
  count(context, "attention/cache_append");
  const int64_t width = args.cache.kv_heads * args.cache.head_dim;
  if (args.rows == 0) return;
  launch(context, append,
         {dim3(static_cast<unsigned>(args.rows), blocks_for(width, 4 * threads).x), dim3(threads)},
         args);
}

void attention(const device::Context& context, const AttentionArgs& args) {
  if (args.rows == 0) return;
  const bool flash = flash_serves(args);
  count(context, flash ? "attention/prefill_flash" : "attention/prefill_cublas");
  if (flash) {
    attention_flash(context, args);
  } else {
    attention_products(context, args);
  }
}

}  // namespace qsweep::kernels::cuda
