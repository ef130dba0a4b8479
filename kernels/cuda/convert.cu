#include "kernels/cuda/convert.cuh"

#include "kernels/common.hpp"
#include "kernels/cuda/quads.cuh"

namespace qsweep::kernels::cuda {
namespace {

// out = x, or x + bias, as `compute` stores it or rounded to a bf16 `out`, which may be x.
template <bool Whole, class Out>
__global__ void add_bias_and_round(device::Compute compute, const float* x, int64_t ldx,
                                   const float* bias, int64_t rows, int64_t cols, Out* out,
                                   int64_t ldo) {
  wait_for_previous();
  let_next_start();
  for_quads(rows, cols, [&](int64_t row, int64_t column, int64_t left) {
    float value[4];
    load_quad<Whole>(x + row * ldx + column, left, value);
    if (bias != nullptr) {
      float add[4];
      load_quad<Whole>(bias + column, left, add);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] += add[i];
    }
    if constexpr (sizeof(Out) == 4) round_quad(compute, value);
    store_quad<Whole>(out + row * ldo + column, left, value);
  });
}

template <class Out>
void run(const device::Context& context, const float* x, int64_t ldx, const float* bias,
         int64_t rows, int64_t cols, Out* out, int64_t ldo) {
  if (rows == 0 || cols == 0) return;
  const bool whole =
      cols % 4 == 0 && takes_quads(x, ldx) && takes_quads(bias, 0) && takes_quads(out, ldo);
  launch(context, whole ? add_bias_and_round<true, Out> : add_bias_and_round<false, Out>,
         quad_grid(rows, cols), context.compute, x, ldx, bias, rows, cols, out, ldo);
}

}  // namespace

void to_bf16(const device::Context& context, const float* x, int64_t ldx, int64_t rows,
             int64_t cols, uint16_t* out) {
  run<uint16_t>(context, x, ldx, nullptr, rows, cols, out, cols);
}

void add_bias_to_bf16(const device::Context& context, const float* sums, int64_t lds,
                      const float* bias, int64_t rows, int64_t cols, uint16_t* out, int64_t ldo) {
  run(context, sums, lds, bias, rows, cols, out, ldo);
}

void finish_rows(const device::Context& context, const float* bias, int64_t rows, int64_t cols,
                 float* y, int64_t ldy) {
  if (bias == nullptr && context.compute == device::Compute::fp32) return;
  run(context, y, ldy, bias, rows, cols, y, ldy);
}

}  // namespace qsweep::kernels::cuda
