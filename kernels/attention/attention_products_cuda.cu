// Q K^T and P V by cuBLAS around a causal softmax: one block a (head, row).
#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/blas.hpp"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t most_score_bytes = int64_t{256} << 20;

using device::Buffer;

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

// scores [heads, rows, width] to probabilities; row r sees first + r + 1 positions, the rest is 0.
// Out is P: fp32 in place, or bf16 in `rounded` [heads, rows, width].
__global__ void causal_softmax(float* scores, int64_t rows, int64_t width, int64_t first,
                               uint16_t* rounded) {
  __shared__ float partial[threads / warp_size];
  wait_for_previous();
  let_next_start();
  const int64_t line = blockIdx.x, n = first + line % rows + 1;
  float* s = scores + line * width;
  float largest = -INFINITY;
  for (int64_t t = threadIdx.x; t < n; t += threads) largest = fmaxf(largest, s[t]);
  largest = over_block(largest, partial, Larger{});
  float sum = 0;
  for (int64_t t = threadIdx.x; t < n; t += threads) sum += expf(s[t] - largest);
  const float inverse = 1.0f / over_block(sum, partial, Add{});
  for (int64_t t = threadIdx.x; t < width; t += threads) {
    const float p = t < n ? expf(s[t] - largest) * inverse : 0.0f;
    if (rounded != nullptr) {
      rounded[line * width + t] = float_to_bf16(p);
    } else {
      s[t] = p;
    }
  }
}

// Rows [begin, begin + rows) of the call, whose scores fit.
struct Chunk {
  const AttentionArgs& args;
  int64_t begin, rows;
  int64_t width() const { return args.first + begin + rows; }
};

// The products of all heads: one call where every query head has its own KV head, else one a KV
// head over the query heads that share it.
template <class Make>
void for_heads(const device::Context& context, const AttentionArgs& args, Make make) {
  const int64_t kv_heads = args.keys.kv_heads, group = args.heads / kv_heads;
  if (group == 1) {
    multiply(context, make(0, args.heads, args.keys.capacity * args.keys.head_dim));
    return;
  }
  for (int64_t kv = 0; kv < kv_heads; ++kv) multiply(context, make(kv, group, 0));
}

const void* kv_start(const CacheView& cache, int64_t kv_head) {
  const int64_t bytes = cache.capacity * cache.head_dim * cache_element_bytes(cache.type);
  return static_cast<const std::byte*>(cache.data) + kv_head * bytes;
}

void run_chunk(const device::Context& context, const Chunk& chunk, float* scores, uint16_t* rounded,
               uint16_t* q16) {
  const AttentionArgs& args = chunk.args;
  const int64_t dim = args.keys.head_dim, rows = chunk.rows, width = chunk.width();
  const int64_t group = args.heads / args.keys.kv_heads;
  const float* q32 = args.q + chunk.begin * args.ldq;
  const bool bf16 = rounded != nullptr;
  if (bf16) to_bf16(context, q32, args.ldq, rows, args.heads * dim, q16);
  Product product;
  product.operand = bf16 ? Operand::bf16 : Operand::fp32;
  product.rows = rows;
  for_heads(context, args, [&](int64_t kv, int64_t heads, int64_t kv_stride) {
    const int64_t head = kv * group;
    product.a = bf16 ? static_cast<const void*>(q16 + head * dim) : q32 + head * dim;
    product.lda = bf16 ? args.heads * dim : args.ldq;
    product.stride_a = dim;
    product.b = kv_start(args.keys, kv);
    product.ldb = dim;
    product.stride_b = kv_stride;
    product.b_transposed = true;
    product.c = scores + head * rows * width;
    product.ldc = width;
    product.stride_c = rows * width;
    product.cols = width;
    product.inner = dim;
    product.batch = heads;
    product.scale = 1.0f / std::sqrt(static_cast<float>(dim));
    return product;
  });
  launch(context, causal_softmax, {blocks_for(args.heads * rows, 1), dim3(threads)}, scores, rows,
         width, args.first + chunk.begin, rounded);
  for_heads(context, args, [&](int64_t kv, int64_t heads, int64_t kv_stride) {
    const int64_t at = kv * group * rows * width;
    product.a = bf16 ? static_cast<const void*>(rounded + at) : scores + at;
    product.lda = width;
    product.stride_a = rows * width;
    product.b = kv_start(args.values, kv);
    product.stride_b = kv_stride;
    product.b_transposed = false;
    product.c = args.y + chunk.begin * args.ldy + kv * group * dim;
    product.ldc = args.ldy;
    product.stride_c = dim;
    product.cols = dim;
    product.inner = width;
    product.batch = heads;
    product.scale = 1;
    return product;
  });
  finish_rows(context, nullptr, rows, args.heads * dim, args.y + chunk.begin * args.ldy, args.ldy);
}

}  // namespace

void attention_products(const device::Context& context, const AttentionArgs& args) {
  const bool bf16 = args.keys.type == CacheType::bf16;
  const int64_t longest = args.first + args.rows;
  const int64_t line = args.heads * longest * 4;  // bytes of scores a row
  const int64_t step = std::clamp<int64_t>(most_score_bytes / line, 1, args.rows);
  Buffer scores = scratch(step * line);
  Buffer rounded = scratch(bf16 ? step * line / 2 : 0);
  Buffer q16 = scratch(bf16 ? step * args.heads * args.keys.head_dim * 2 : 0);
  for (int64_t begin = 0; begin < args.rows; begin += step) {
    const Chunk chunk{args, begin, std::min(step, args.rows - begin)};
    run_chunk(context, chunk, scores.as<float>(), rounded.as<uint16_t>(), q16.as<uint16_t>());
  }
}

}  // namespace qsweep::kernels::cuda
