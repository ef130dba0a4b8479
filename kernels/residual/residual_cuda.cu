#include "kernels/common.hpp"
#include "kernels/cuda/quads.cuh"
#include "kernels/residual/residual.hpp"

namespace qsweep::kernels::cuda {
namespace {

template <bool Whole>
__global__ void add(device::Compute compute, const float* x, float* h, int64_t n) {
  wait_for_previous();
  let_next_start();
  for_quads(1, n, [&](int64_t, int64_t at, int64_t left) {
    float sum[4], more[4];
    load_quad<Whole>(h + at, left, sum);
    load_quad<Whole>(x + at, left, more);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += more[i];
    round_quad(compute, sum);
    store_quad<Whole>(h + at, left, sum);
  });
}

}  // namespace

void residual_add(const device::Context& context, const float* x, float* h, int64_t n) {
  count(context, "residual/add");
  if (n == 0) return;
  const bool whole = takes_quads(x, n) && takes_quads(h, n);
  launch(context, whole ? add<true> : add<false>, quad_grid(1, n), context.compute, x, h, n);
}

}  // namespace qsweep::kernels::cuda
