// A block for each row.
#include "kernels/common.hpp"
#include "kernels/cuda/argmax.cuh"
#include "kernels/logits/logits.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 1024;

__global__ void argmax_row(const float* x, int64_t cols, int32_t* out, int32_t* position) {
  __shared__ Best scratch[threads / warp_size];
  wait_for_previous();
  let_next_start();
  const int32_t index = argmax_of(x + blockIdx.x * cols, cols, scratch);
  if (threadIdx.x == 0) out[blockIdx.x] = index;
  if (position != nullptr && threadIdx.x == 0 && blockIdx.x == 0) ++*position;
}

}  // namespace

void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, int32_t* position) {
  count(context, "logits/argmax");
  if (rows == 0) return;
  launch(context, argmax_row, {blocks_for(rows, 1), dim3(threads)}, x, cols, out, position);
}

}  // namespace qsweep::kernels::cuda
