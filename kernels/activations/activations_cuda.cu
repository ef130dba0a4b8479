#include "kernels/activations/activations_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int block_threads = 256;

// A row a block; each thread reads what it has read before, and only then writes.
__global__ void round_rows(Levels levels, const float* x, int64_t ldx, int64_t cols, float* y,
                           int64_t ldy) {
  __shared__ uint32_t scratch[block_threads / warp_size];
  wait_for_previous();
  let_next_start();
  const float* from = x + int64_t{blockIdx.x} * ldx;
  float* to = y + int64_t{blockIdx.x} * ldy;
  uint32_t largest = 0;
  for (int64_t i = threadIdx.x; i < cols && levels.token; i += block_threads) {
    largest = max(largest, quant::format::magnitude_bits(from[i]));
  }
  largest = over_block(largest, scratch, [](uint32_t a, uint32_t b) { return max(a, b); });
  const float scale = levels.scale(__uint_as_float(largest));
  for (int64_t i = threadIdx.x; i < cols; i += block_threads) {
    to[i] = levels.on ? scale * levels.level(from[i], scale) : rounded(from[i]);
  }
}

}  // namespace

void round_activations(const device::Context& context, const RoundActivationsArgs& args) {
  if (args.rows == 0 || args.cols == 0) return;
  launch(context, round_rows, {blocks_for(args.rows, 1), dim3(block_threads)},
         levels_of(args.rounding), args.x, args.ldx, args.cols, args.y, args.ldy);
}

}  // namespace qsweep::kernels::cuda
