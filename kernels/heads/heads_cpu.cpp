#include "kernels/common.hpp"
#include "kernels/heads/heads.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"

namespace qsweep::kernels {
namespace {

void turn(const device::Context& context, const HeadsArgs& args, const float* norm, float* x,
          int64_t heads) {
  const int64_t dim = args.keys.head_dim;
  if (norm != nullptr) {
    rmsnorm(context, {x, args.ldqkv, norm, args.norm_eps, args.rows, heads, dim, x, args.ldqkv});
  }
  rope(context, {x, args.ldqkv, args.rows, heads, dim, args.cos, args.sin});
}

}  // namespace

void place_heads(const device::Context& context, const HeadsArgs& args) {
  if (on_gpu(context)) return cuda::place_heads(context, args);
  const int64_t dim = args.keys.head_dim, kv_heads = args.keys.kv_heads;
  float* k = args.qkv + args.heads * dim;
  float* v = k + kv_heads * dim;
  turn(context, args, args.q_norm, args.qkv, args.heads);
  turn(context, args, args.k_norm, k, kv_heads);
  cache_append(context, {k, args.ldqkv, args.rows, args.first, args.keys});
  cache_append(context, {v, args.ldqkv, args.rows, args.first, args.values});
}

}  // namespace qsweep::kernels
