#include "kernels/cuda/convert.cuh"

#include "kernels/common.hpp"
#include "kernels/cuda/quads.cuh"

namespace qsweep::kernels::cuda {
namespace {

// out = x with its scales and bias, as `compute` stores it or rounded to a bf16 `out`, which may be
// x.
template <bool Whole, class Out>
__global__ void finish_sums(device::Compute compute, RowSums x, int64_t rows, int64_t cols,
                            Out* out, int64_t ldo) {
  wait_for_previous();
  let_next_start();
  for_quads(rows, cols, [&](int64_t row, int64_t column, int64_t left) {
    float value[4];
    load_quad<Whole>(x.sums + row * x.ld + column, left, value);
    const float scale = x.scales == nullptr ? 1.0f : x.scales[row];
#pragma unroll
    for (float& v : value) v *= scale;
    if (x.bias != nullptr) {
      float add[4];
      load_quad<Whole>(x.bias + column, left, add);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] += add[i];
    }
    if constexpr (sizeof(Out) == 4) round_quad(compute, value);
    store_quad<Whole>(out + row * ldo + column, left, value);
  });
}

template <class Out>
void run(const device::Context& context, const RowSums& x, int64_t rows, int64_t cols, Out* out,
         int64_t ldo) {
  if (rows == 0 || cols == 0) return;
  const bool whole =
      cols % 4 == 0 && takes_quads(x.sums, x.ld) && takes_quads(x.bias, 0) && takes_quads(out, ldo);
  launch(context, whole ? finish_sums<true, Out> : finish_sums<false, Out>, quad_grid(rows, cols),
         context.compute, x, rows, cols, out, ldo);
}

}  // namespace

void to_bf16(const device::Context& context, const float* x, int64_t ldx, int64_t rows,
             int64_t cols, uint16_t* out) {
  run<uint16_t>(context, {x, ldx}, rows, cols, out, cols);
}

void sums_to_bf16(const device::Context& context, const RowSums& sums, int64_t rows, int64_t cols,
                  uint16_t* out, int64_t ldo) {
  run(context, sums, rows, cols, out, ldo);
}

void finish_rows(const device::Context& context, const float* bias, int64_t rows, int64_t cols,
                 float* y, int64_t ldy) {
  if (bias == nullptr && context.compute == device::Compute::fp32) return;
  run(context, {y, ldy, nullptr, bias}, rows, cols, y, ldy);
}

}  // namespace qsweep::kernels::cuda
