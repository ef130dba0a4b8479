// A block for each vector: squares summed by thread, then by warp, then over the warps, in a fixed
// order.
#include <algorithm>

#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/rmsnorm/rmsnorm.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int most_threads = 512;

__global__ void row(device::Compute compute, RmsNormArgs args) {
  __shared__ float scratch[most_threads / warp_size];
  wait_for_previous();
  let_next_start();
  const int64_t r = blockIdx.x / args.parts, offset = blockIdx.x % args.parts * args.dim;
  const float* x = args.x + r * args.ldx + offset;
  float* y = args.y + r * args.ldy + offset;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < args.dim; i += blockDim.x) squares += x[i] * x[i];
  squares = over_block(squares, scratch, Add{});
  const float mean = squares / static_cast<float>(args.dim);
  const float scale = 1.0f / sqrtf(mean + static_cast<float>(args.eps));
  for (int64_t i = threadIdx.x; i < args.dim; i += blockDim.x) {
    y[i] = stored(compute, args.weight[i] * stored(compute, x[i] * scale));
  }
}

}  // namespace

void rmsnorm(const device::Context& context, const RmsNormArgs& args) {
  count(context, "rmsnorm/row");
  const int64_t vectors = args.rows * args.parts;
  if (vectors == 0) return;
  const int64_t warps = std::min<int64_t>(tiles(args.dim, 4 * warp_size), most_threads / warp_size);
  launch(context, row, {blocks_for(vectors, 1), dim3(static_cast<unsigned>(warps * warp_size))},
         context.compute, args);
}

}  // namespace qsweep::kernels::cuda
