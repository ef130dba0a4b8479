// A cluster of blocks for each row: one block alone would read a vocabulary of 128,256 with the
// few loads that one multiprocessor has under way, at the end of every token.
#include "kernels/common.hpp"
#include "kernels/cuda/argmax.cuh"
#include "kernels/logits/logits.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 1024, blocks = 8;

__global__ void __launch_bounds__(threads)
    argmax_row(const float* x, int64_t cols, int32_t* out, StepEnd end) {
  __shared__ Best scratch[threads / warp_size];
  __shared__ Best mine;
  wait_for_previous();
  let_next_start();
  const int64_t each = tiles(cols, blocks), begin = each * blockIdx.y;
  const Best of_block = best_of(x + blockIdx.x * cols, begin, min(begin + each, cols), scratch);
  if (threadIdx.x == 0) mine = of_block;
  cluster_arrive();
  cluster_wait();
  if (blockIdx.y == 0 && threadIdx.x == 0) {
    Best best = of_block;
    for (uint32_t k = 1; k < blocks; ++k) {
      best = Better{}(best, {load_from_block(&mine.value, k), load_from_block(&mine.index, k)});
    }
    out[blockIdx.x] = best.index;
    if (blockIdx.x == 0 && end.position != nullptr) {
      if (end.choices != nullptr) end.choices[*end.position % 2] = best.index;
      ++*end.position;
    }
  }
  cluster_arrive();  // shared memory stays until it was read
  cluster_wait();
}

}  // namespace

void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, const StepEnd& end) {
  count(context, "logits/argmax");
  if (rows == 0) return;
  const Grid grid{dim3(static_cast<unsigned>(rows), blocks), dim3(threads), 0, blocks};
  launch(context, argmax_row, grid, x, cols, out, end);
}

}  // namespace qsweep::kernels::cuda
