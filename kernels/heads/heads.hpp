// Heads of new rows made ready for attention, between the projection and the product:
//   q, k: normed where there are weights (rmsnorm over the head), then turned by position (rope);
//   q stays in qkv, k and v go to the cache, rounded to its type.
//   qkv [rows, (heads + 2 kv_heads) D] fp32 in place, row stride ldqkv: all query heads, then keys,
//   then values; cos, sin [rows, D/2]; row r stands at position first + r.
// By definition what rmsnorm(), rope() and cache_append() give one after another, with their
// rounding and their bounds; on the CPU it is just that. On the GPU one kernel does all of it, so
// k and v in qkv are left as they were.
#pragma once

#include "kernels/attention/attention.hpp"
#include "kernels/rope/rope.hpp"

namespace qsweep::kernels {

struct HeadsArgs {
  float* qkv;
  int64_t ldqkv;
  int64_t rows, heads, first;
  const float* q_norm = nullptr;  // [D] or null
  const float* k_norm = nullptr;
  double norm_eps = 0;
  const float* cos;
  const float* sin;
  CacheView keys, values;
  const int32_t* position = nullptr;  // as in CacheAppendArgs
};

void place_heads(const device::Context& context, const HeadsArgs& args);

namespace cuda {
void place_heads(const device::Context& context, const HeadsArgs& args);
}

}  // namespace qsweep::kernels
