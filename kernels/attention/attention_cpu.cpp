// A prefill over an fp32 cache goes by tiles of one query head and 64 rows, each two matrix
// products, Q K^T and P V: its KV head stays in the core's cache for all of them. Anything else
// goes by KV head, row by row: the query heads that share it walk the cache together, a stretch at
// a time, so that it is read from memory once. Tiles are the same whatever the number of threads,
// and so are the bits.
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

constexpr int64_t row_tile = 64;
// Below this many rows a product has no reuse to gain over dot products.
constexpr int64_t least_product_rows = 8;
// Positions whose keys or values (128 kB at a head of 128 in fp32) all heads of a group read in
// turn.
constexpr int64_t stretch = 256;

template <class T>
const T* cache_row(const CacheView& cache, int64_t head, int64_t position) {
  return static_cast<const T*>(cache.data) + (head * cache.capacity + position) * cache.head_dim;
}

// scores[t] = scale (q . k[first + t]) for `count` positions.
void score(const CacheView& keys, int64_t head, int64_t first, int64_t count, const float* q,
           float scale, float* scores) {
  const int64_t dim = keys.head_dim;
  if (keys.type == CacheType::fp32) {
    row_ops().dots_fp32(cache_row<float>(keys, head, first), count, q, dim, scale, scores);
  } else {
    row_ops().dots_bf16(cache_row<uint16_t>(keys, head, first), count, q, dim, scale, scores);
  }
}

// y += sum_t p[t] v[first + t].
void weigh(const CacheView& values, int64_t head, int64_t first, int64_t count, const float* p,
           float* y) {
  const int64_t dim = values.head_dim;
  if (values.type == CacheType::fp32) {
    row_ops().weigh_fp32(p, cache_row<float>(values, head, first), count, y, dim);
  } else {
    row_ops().weigh_bf16(p, cache_row<uint16_t>(values, head, first), count, y, dim);
  }
}

// p [n] in place: scores to probabilities.
void softmax(device::Compute compute, std::span<float> p) {
  const double sum = row_ops().exp_from_max(p.data(), static_cast<int64_t>(p.size()));
  const auto inverse = static_cast<float>(1 / sum);
  if (compute == device::Compute::fp32) {
    for (float& value : p) value *= inverse;
  } else {
    for (float& value : p) value = rounded(value * inverse);
  }
}

// One row of every query head of a KV head; `scores` has room for group * (first + row + 1).
void attend(device::Compute compute, const AttentionArgs& args, int64_t kv_head, int64_t row,
            float* scores) {
  const int64_t dim = args.keys.head_dim, group = args.heads / args.keys.kv_heads;
  const int64_t n = args.first + row + 1, column = kv_head * group * dim;
  const float* q = args.q + row * args.ldq + column;
  float* y = args.y + row * args.ldy + column;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t t = 0; t < n; t += stretch) {
    const int64_t count = std::min(stretch, n - t);
    for (int64_t h = 0; h < group; ++h) {
      score(args.keys, kv_head, t, count, q + h * dim, scale, scores + h * n + t);
    }
  }
  for (int64_t h = 0; h < group; ++h) softmax(compute, {scores + h * n, static_cast<size_t>(n)});
  std::fill_n(y, group * dim, 0.0f);
  for (int64_t t = 0; t < n; t += stretch) {
    const int64_t count = std::min(stretch, n - t);
    for (int64_t h = 0; h < group; ++h) {
      weigh(args.values, kv_head, t, count, scores + h * n + t, y + h * dim);
    }
  }
  for (int64_t i = 0; i < group * dim; ++i) y[i] = stored(compute, y[i]);
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
  const OpTimer timer(context, "cache_append");
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

namespace {

// Late rows see more positions: tiles are handed out as threads come free, from the longest down.
template <class Tile>
void over_tiles(const device::Context& context, const AttentionArgs& args, int64_t heads,
                int64_t rows, int64_t scores_size, Tile tile) {
  const int64_t row_tiles = tiles(args.rows, rows), all = heads * row_tiles;
  // Below this many scores a second thread costs more than it brings.
  const bool worth = args.rows * args.heads * (args.first + args.rows) >= 4096;
#pragma omp parallel num_threads(threads_of(context)) if (worth)
  {
    std::vector<float> scores(static_cast<size_t>(scores_size));
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < all; ++i) {
      const int64_t begin = (row_tiles - 1 - i / heads) * rows;
      tile(i % heads, begin, std::min(begin + rows, args.rows), scores.data());
    }
  }
}

}  // namespace

void attention(const device::Context& context, const AttentionArgs& args) {
  if (on_gpu(context)) return cuda::attention(context, args);
  const OpTimer timer(context, "attention");
  const bool products = args.rows >= least_product_rows && args.keys.type == CacheType::fp32 &&
                        args.values.type == CacheType::fp32;
  count(context, products         ? "attention/prefill_product"
                 : args.rows == 1 ? "attention/decode_dot"
                                  : "attention/prefill_dot");
  const int64_t longest = args.first + args.rows, group = args.heads / args.keys.kv_heads;
  if (products) {
    single_threaded_blas();
    over_tiles(context, args, args.heads, row_tile, longest * row_tile,
               [&](int64_t head, int64_t begin, int64_t end, float* scores) {
                 attend_tile(context.compute, args, head, begin, end, scores);
               });
    return;
  }
  over_tiles(context, args, args.keys.kv_heads, 1, longest * group,
             [&](int64_t kv_head, int64_t row, int64_t, float* scores) {
               attend(context.compute, args, kv_head, row, scores);
             });
}

}  // namespace qsweep::kernels
