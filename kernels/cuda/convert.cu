#include "kernels/cuda/convert.cuh"

#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 256;

__global__ void round_to_bf16(const float* x, int64_t ldx, int64_t cols, int64_t n, uint16_t* out) {
  wait_for_previous();
  let_next_start();
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i < n) out[i] = float_to_bf16(x[i / cols * ldx + i % cols]);
}

__global__ void add_bias_and_round(device::Compute compute, const float* bias, int64_t cols,
                                   int64_t n, float* y, int64_t ldy) {
  wait_for_previous();
  let_next_start();
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= n) return;
  float& value = y[i / cols * ldy + i % cols];
  value = stored(compute, bias == nullptr ? value : value + bias[i % cols]);
}

}  // namespace

void to_bf16(const device::Context& context, const float* x, int64_t ldx, int64_t rows,
             int64_t cols, uint16_t* out) {
  const int64_t n = rows * cols;
  if (n == 0) return;
  launch(context, round_to_bf16, {blocks_for(n, threads), dim3(threads)}, x, ldx, cols, n, out);
}

void finish_rows(const device::Context& context, const float* bias, int64_t rows, int64_t cols,
                 float* y, int64_t ldy) {
  const int64_t n = rows * cols;
  if (n == 0 || (bias == nullptr && context.compute == device::Compute::fp32)) return;
  launch(context, add_bias_and_round, {blocks_for(n, threads), dim3(threads)}, context.compute,
         bias, cols, n, y, ldy);
}

}  // namespace qsweep::kernels::cuda
