#include "kernels/activations/levels_cuda.cuh"

#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int block_threads = 256;

__device__ void store_level(uint16_t* to, float level) {
  *to = float_to_bf16(level);
}
__device__ void store_level(uint8_t* to, float level) {
  *to = float_to_fp8_e4m3(level);
}

// A row a block. x and out may be the same memory: a thread writes what it alone has read.
template <class Out>
__global__ void make_levels(Levels levels, const uint16_t* x, int64_t cols, Out* out,
                            float* scales) {
  __shared__ float scratch[block_threads / warp_size];
  wait_for_previous();
  let_next_start();
  const uint16_t* from = x + int64_t{blockIdx.x} * cols;
  Out* to = out + int64_t{blockIdx.x} * cols;
  float largest = 0;
  for (int64_t i = threadIdx.x; i < cols && levels.token; i += block_threads) {
    largest = fmaxf(largest, fabsf(bf16_to_float(from[i])));
  }
  const float scale = levels.scale(over_block(largest, scratch, Larger{}));
  if (threadIdx.x == 0) scales[blockIdx.x] = scale;
  for (int64_t i = threadIdx.x; i < cols; i += block_threads) {
    store_level(to + i, levels.level(bf16_to_float(from[i]), scale));
  }
}

}  // namespace

void levels_of_rows(const device::Context& context, const Levels& levels, const uint16_t* x,
                    int64_t rows, int64_t cols, uint16_t* out, float* scales) {
  launch(context, make_levels<uint16_t>, {blocks_for(rows, 1), dim3(block_threads)}, levels, x,
         cols, out, scales);
}
void levels_of_rows(const device::Context& context, const Levels& levels, const uint16_t* x,
                    int64_t rows, int64_t cols, uint8_t* out, float* scales) {
  launch(context, make_levels<uint8_t>, {blocks_for(rows, 1), dim3(block_threads)}, levels, x, cols,
         out, scales);
}

}  // namespace qsweep::kernels::cuda
