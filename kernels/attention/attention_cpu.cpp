// One tile is one query head over up to 32 rows: its KV head stays in the core's cache for all of
// them, and there are enough tiles (heads * rows / 32) for every core of a node. A prefill tile
// over an fp32 cache is two matrix products, Q K^T and P V; anything else goes row by row. Tiles
// are the same whatever the number of threads, and so are the bits.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "kernels/attention/attention.hpp"
#include "kernels/blas.hpp"
#include "kernels/common.hpp"
#include "kernels/simd/row_ops.hpp"

namespace qsweep::kernels {
namespace {

constexpr int64_t row_tile = 32;
// Below this many rows a product has no reuse to gain over dot products.
constexpr int64_t least_product_rows = 8;

template <class T>
const T* cache_row(const CacheView& cache, int64_t head, int64_t position) {
  return static_cast<const T*>(cache.data) + (head * cache.capacity + position) * cache.head_dim;
}

float dot(const CacheView& keys, int64_t head, int64_t position, const float* q) {
  return keys.type == CacheType::fp32
             ? row_ops().dot_fp32(cache_row<float>(keys, head, position), q, keys.head_dim)
             : row_ops().dot_bf16(cache_row<uint16_t>(keys, head, position), q, keys.head_dim);
}

void add_scaled(const CacheView& values, int64_t head, int64_t position, float p, float* y) {
  if (values.type == CacheType::fp32) {
    row_ops().axpy_fp32(p, cache_row<float>(values, head, position), y, values.head_dim);
  } else {
    row_ops().axpy_bf16(p, cache_row<uint16_t>(values, head, position), y, values.head_dim);
  }
}

// p [n] in place: scores to probabilities.
void softmax(device::Compute compute, std::span<float> p) {
  const float largest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (float& value : p) {
    value = std::exp(value - largest);
    sum += value;
  }
  const auto inverse = static_cast<float>(1 / sum);
  for (float& value : p) value = stored(compute, value * inverse);
}

// One row of one head; `scores` has room for first + row + 1.
void attend(device::Compute compute, const AttentionArgs& args, int64_t head, int64_t row,
            float* scores) {
  const int64_t dim = args.keys.head_dim, kv_head = head / (args.heads / args.keys.kv_heads);
  const int64_t n = args.first + row + 1;
  const float* q = args.q + row * args.ldq + head * dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t t = 0; t < n; ++t) {
    scores[t] = dot(args.keys, kv_head, t, q) * scale;
  }
  softmax(compute, {scores, static_cast<size_t>(n)});
  float* y = args.y + row * args.ldy + head * dim;
  std::fill_n(y, dim, 0.0f);
  for (int64_t t = 0; t < n; ++t) add_scaled(args.values, kv_head, t, scores[t], y);
  for (int64_t i = 0; i < dim; ++i) y[i] = stored(compute, y[i]);
}

// Rows [begin, end) of one head at once; `scores` has room for (end - begin) * (first + end).
// Masked positions are computed and dropped: at most one tile's width of them.
void attend_tile(device::Compute compute, const AttentionArgs& args, int64_t head, int64_t begin,
                 int64_t end, float* scores) {
  const int64_t dim = args.keys.head_dim, kv_head = head / (args.heads / args.keys.kv_heads);
  const int rows = static_cast<int>(end - begin), width = static_cast<int>(args.first + end);
  const int d = static_cast<int>(dim);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  const float* q = args.q + begin * args.ldq + head * dim;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, width, d, scale, q,
              static_cast<int>(args.ldq), cache_row<float>(args.keys, kv_head, 0), d, 0.0f, scores,
              width);
  for (int64_t row = begin; row < end; ++row) {
    float* line = scores + (row - begin) * width;
    const int64_t n = args.first + row + 1;
    softmax(compute, {line, static_cast<size_t>(n)});
    std::fill(line + n, line + width, 0.0f);
  }
  float* y = args.y + begin * args.ldy + head * dim;
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, d, width, 1.0f, scores, width,
              cache_row<float>(args.values, kv_head, 0), d, 0.0f, y, static_cast<int>(args.ldy));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < dim; ++i)
      y[row * args.ldy + i] = stored(compute, y[row * args.ldy + i]);
  }
}

}  // namespace

void cache_append(const device::Context& context, const CacheAppendArgs& args) {
  if (on_gpu(context)) return cuda::cache_append(context, args);
  count(context, "attention/cache_append");
  const CacheView& cache = args.cache;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t h = 0; h < cache.kv_heads; ++h) {
      const float* x = args.x + r * args.ldx + h * cache.head_dim;
      const int64_t at = (h * cache.capacity + args.first + r) * cache.head_dim;
      if (cache.type == CacheType::fp32) {
        std::copy_n(x, cache.head_dim, static_cast<float*>(cache.data) + at);
      } else {
        std::transform(x, x + cache.head_dim, static_cast<uint16_t*>(cache.data) + at,
                       float_to_bf16);
      }
    }
  }
}

void attention(const device::Context& context, const AttentionArgs& args) {
  if (on_gpu(context)) return cuda::attention(context, args);
  const bool products = args.rows >= least_product_rows && args.keys.type == CacheType::fp32 &&
                        args.values.type == CacheType::fp32;
  count(context, products         ? "attention/prefill_product"
                 : args.rows == 1 ? "attention/decode_dot"
                                  : "attention/prefill_dot");
  const int64_t row_tiles = tiles(args.rows, row_tile), all = args.heads * row_tiles;
  if (products) single_threaded_blas();
  const auto longest = static_cast<size_t>(args.first + args.rows);
  // Below this many multiplications a second thread costs more than it brings.
  const bool worth = args.rows * args.heads * static_cast<int64_t>(longest) >= 4096;
#pragma omp parallel num_threads(threads_of(context)) if (worth)
  {
    std::vector<float> scores(longest * static_cast<size_t>(products ? row_tile : 1));
    // Late rows see more positions: tiles are handed out as threads come free, from the longest
    // down.
#pragma omp for schedule(dynamic)
    for (int64_t tile = 0; tile < all; ++tile) {
      const int64_t begin = (row_tiles - 1 - tile / args.heads) * row_tile;
      const int64_t end = std::min(begin + row_tile, args.rows);
      if (products) {
        attend_tile(context.compute, args, tile % args.heads, begin, end, scores.data());
        continue;
      }
      for (int64_t row = begin; row < end; ++row) {
        attend(context.compute, args, tile % args.heads, row, scores.data());
      }
    }
  }
}

}  // namespace qsweep::kernels
