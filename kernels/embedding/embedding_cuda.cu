// A block for each token and 1024 columns.
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/embedding/embedding.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 256;
constexpr int64_t columns = 1024;  // of a block

template <class F>
__global__ void gather(PackedView w, const int32_t* tokens, device::Compute compute, float* y) {
  wait_for_previous();
  let_next_start();
  const int64_t row = blockIdx.x, token = tokens[row];
  const int64_t begin = blockIdx.y * columns;
  const int64_t end = begin + columns < w.cols ? begin + columns : w.cols;
  for (int64_t i = begin + threadIdx.x; i < end; i += threads) {
    y[row * w.cols + i] = stored(compute, decode<F>(w, token, i));
  }
}

}  // namespace

void embedding(const device::Context& context, const EmbeddingArgs& args) {
  count(context, "embedding/gather");
  if (args.rows == 0) return;
  const PackedView w = view_of(*args.weight);
  const Grid grid{dim3(static_cast<unsigned>(args.rows), blocks_for(w.cols, columns).x),
                  dim3(threads)};
  format::visit_format(args.weight->spec.id, [&](auto f) {
    launch(context, gather<decltype(f)>, grid, w, args.tokens, context.compute, args.y);
  });
}

}  // namespace qsweep::kernels::cuda
