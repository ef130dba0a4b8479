// Causal grouped-query attention over a KV cache, and the append to it.
//   s[t] = (q . k[t]) / sqrt(D),  p = softmax(s[0..n)),  y = sum_t p[t] v[t],  n = first + r + 1
//   for row r: row r stands at position first + r and sees every position up to its own, all of
//   them already appended. q [rows, heads, D], row stride ldq; y [rows, heads, D], row stride ldy;
//   cache [kv_heads, capacity, D], fp32 or bf16; query head h reads KV head h / (heads / kv_heads).
// Scores, softmax and sums in fp32 (the softmax denominator in double, 16 vectors at a time); with
// bf16 activations the probabilities and y are rounded, as the fused kernels of torch do.
//
// Bytes: cache 2 kv_heads n D element, once a query tile. FLOPs: 4 rows heads n D.
//
// |error| <= (n + D / 8 + 48) 2^-24 (1 + a) max|v| in fp32, where a = max_t sum_i |q_i k_i[t]| /
// sqrt(D), what a score could be without cancelling: n for the weighted sum, D / 8 + 8 for the
// scores, 6 and 24 for the exponentials and their sum (simd/row_ops.hpp), 10 for the rest.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels {

enum class CacheType { fp32, bf16 };
inline int64_t cache_element_bytes(CacheType type) {
  return type == CacheType::fp32 ? 4 : 2;
}

// One layer's keys or values of one sequence.
struct CacheView {
  void* data;  // [kv_heads, capacity, head_dim]
  CacheType type;
  int64_t kv_heads, capacity, head_dim;
};

// cache[h, first + r, :] = x[r, h, :]; x [rows, kv_heads, D] fp32, row stride ldx. Rounds to the
// cache's type.
struct CacheAppendArgs {
  const float* x;
  int64_t ldx;
  int64_t rows, first;
  CacheView cache;
  const int32_t* position = nullptr;  // [1] GPU only: stands for `first`, so that a graph replays
};
void cache_append(const device::Context& context, const CacheAppendArgs& args);

struct AttentionArgs {
  const float* q;
  int64_t ldq;
  int64_t rows, heads, first;
  CacheView keys, values;
  float* y;
  int64_t ldy;
};
void attention(const device::Context& context, const AttentionArgs& args);

namespace cuda {
void cache_append(const device::Context& context, const CacheAppendArgs& args);
void attention(const device::Context& context, const AttentionArgs& args);
}  // namespace cuda
namespace ref {
void attention(const AttentionArgs& args);
}

}  // namespace qsweep::kernels
