#include "kernels/common.hpp"
#include "kernels/cuda/quads.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {
namespace {

template <bool Whole>
__global__ void elementwise(device::Compute compute, SiluMulArgs args) {
  wait_for_previous();
  let_next_start();
  for_quads(args.rows, args.ffn, [&](int64_t row, int64_t column, int64_t left) {
    float value[4], up[4];
    load_quad<Whole>(args.gate + row * args.ldg + column, left, value);
    load_quad<Whole>(args.up + row * args.ldu + column, left, up);
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] = silu(value[i]);
    round_quad(compute, value);
#pragma unroll
    for (int i = 0; i < 4; ++i) value[i] *= up[i];
    round_quad(compute, value);
    store_quad<Whole>(args.y + row * args.ffn + column, left, value);
  });
}

}  // namespace

void silu_mul(const device::Context& context, const SiluMulArgs& args) {
  count(context, "silu_mul/elementwise");
  if (args.rows == 0 || args.ffn == 0) return;
  const bool whole = takes_quads(args.gate, args.ldg) && takes_quads(args.up, args.ldu) &&
                     takes_quads(args.y, args.ffn);
  launch(context, whole ? elementwise<true> : elementwise<false>, quad_grid(args.rows, args.ffn),
         context.compute, args);
}

}  // namespace qsweep::kernels::cuda
