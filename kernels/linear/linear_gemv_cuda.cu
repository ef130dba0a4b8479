// y = W x for any format, shape and activation type: a warp for each row of W, up to 8 rows of x at
// once. A lane takes eights of consecutive elements; the scale is decoded once for an eight that
// lies in one group.
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int warps = 4, eight = 8;

struct Gemv {
  PackedView w;
  const float* bias;
  const float* x;
  int64_t ldx, rows;
  float* y;
  int64_t ldy;
};

// Values [col, col + n) of a row, n <= 8.
template <class F>
__device__ void decode_eight(const PackedView& w, int64_t row, int64_t col, int n,
                             float (&values)[eight]) {
  const Element<F> e(w, row, col);
  if (F::scaled && (e.at + n - 1) / w.groups.size != e.group) {
    for (int i = 0; i < n; ++i) values[i] = decode<F>(w, row, col + i);
    return;
  }
  const uint8_t* line = w.codes + e.line * w.groups.line_bytes;
  float scale = 1, zero = 0;
  if constexpr (F::scaled) {
    scale = w.scale(w.groups.index(e.line, e.group));
    if (w.asymmetric) zero = w.zeros(e.line, e.group);
  }
  for (int i = 0; i < n; ++i) {
    const float level = code_value<F>(line, e.at + i, w.asymmetric, zero);
    values[i] = F::scaled ? level * scale : level;
  }
}

template <class F>
__global__ void gemv(device::Compute compute, Gemv g) {
  wait_for_previous();
  let_next_start();
  const int lane = threadIdx.x % warp_size;
  const int64_t row = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size;
  if (row >= g.w.rows) return;
  float sums[gemv_rows] = {};
  for (int64_t col = lane * eight; col < g.w.cols; col += warp_size * eight) {
    const int n = g.w.cols - col < eight ? static_cast<int>(g.w.cols - col) : eight;
    float values[eight];
    decode_eight<F>(g.w, row, col, n, values);
#pragma unroll
    for (int r = 0; r < gemv_rows; ++r) {
      if (r >= g.rows) break;
      for (int i = 0; i < n; ++i) sums[r] += values[i] * g.x[r * g.ldx + col + i];
    }
  }
#pragma unroll
  for (int r = 0; r < gemv_rows; ++r) {
    if (r >= g.rows) break;
    const float sum = over_warp(sums[r], Add{});
    if (lane == 0) {
      g.y[r * g.ldy + row] = stored(compute, g.bias == nullptr ? sum : sum + g.bias[row]);
    }
  }
}

}  // namespace

void linear_gemv(const device::Context& context, const LinearArgs& args) {
  count_strategy(context, "gemv", *args.weight, args.calls);
  const Gemv g{view_of(*args.weight), args.bias, args.x, args.ldx, args.rows, args.y, args.ldy};
  const Grid grid{blocks_for(args.weight->rows, warps), dim3(warps * warp_size)};
  format::visit_format(args.weight->spec.id, [&](auto f) {
    launch(context, gemv<decltype(f)>, grid, context.compute, g);
  });
}

}  // namespace qsweep::kernels::cuda
