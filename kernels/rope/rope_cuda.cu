#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/rope/rope.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 128;

// A block for each row.
__global__ void table(device::Compute compute, RopeTableArgs args) {
  wait_for_previous();
  let_next_start();
  const int64_t r = blockIdx.x, first = args.position != nullptr ? *args.position : args.first;
  const auto factor = static_cast<float>(args.attention_factor);
  for (int64_t i = threadIdx.x; i < args.half_dim; i += threads) {
    const float angle = static_cast<float>(first + r) * args.frequencies[i];
    args.cos[r * args.half_dim + i] = stored(compute, cosf(angle) * factor);
    args.sin[r * args.half_dim + i] = stored(compute, sinf(angle) * factor);
  }
}

// A thread for each pair.
__global__ void rotate_half(device::Compute compute, RopeArgs args) {
  wait_for_previous();
  let_next_start();
  const int64_t half = args.head_dim / 2, pairs = args.heads * half, r = blockIdx.x;
  for (int64_t pair = int64_t{blockIdx.y} * threads + threadIdx.x; pair < pairs;
       pair += int64_t{gridDim.y} * threads) {
    const int64_t i = pair % half;
    const float cos = args.cos[r * half + i], sin = args.sin[r * half + i];
    float* x = args.x + r * args.ldx + pair / half * args.head_dim;
    const float a = x[i], b = x[i + half];
    x[i] = stored(compute, stored(compute, a * cos) - stored(compute, b * sin));
    x[i + half] = stored(compute, stored(compute, b * cos) + stored(compute, a * sin));
  }
}

}  // namespace

void rope_table(const device::Context& context, const RopeTableArgs& args) {
  count(context, "rope/table");
  if (args.rows == 0) return;
  launch(context, table, {blocks_for(args.rows, 1), dim3(threads)}, context.compute, args);
}

void rope(const device::Context& context, const RopeArgs& args) {
  count(context, "rope/rotate_half");
  const int64_t pairs = args.heads * (args.head_dim / 2);
  if (args.rows == 0 || pairs == 0) return;
  launch(context, rotate_half,
         {dim3(static_cast<unsigned>(args.rows), blocks_for(pairs, 2 * threads).x), dim3(threads)},
         context.compute, args);
}

}  // namespace qsweep::kernels::cuda
