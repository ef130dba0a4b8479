#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 256;

__global__ void elementwise(device::Compute compute, SiluMulArgs args) {
  wait_for_previous();
  let_next_start();
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x, r = blockIdx.y;
  if (i >= args.ffn) return;
  const float activated = stored(compute, silu(args.gate[r * args.ldg + i]));
  args.y[r * args.ffn + i] = stored(compute, activated * args.up[r * args.ldu + i]);
}

}  // namespace

void silu_mul(const device::Context& context, const SiluMulArgs& args) {
  count(context, "silu_mul/elementwise");
  // Rows are the grid's second dimension, which ends at 65535.
  constexpr int64_t most_rows = 65535;
  for (int64_t row = 0; row < args.rows; row += most_rows) {
    SiluMulArgs part = args;
    part.gate += row * args.ldg;
    part.up += row * args.ldu;
    part.y += row * args.ffn;
    const int64_t rows = args.rows - row < most_rows ? args.rows - row : most_rows;
    launch(context, elementwise,
           {dim3(blocks_for(args.ffn, threads).x, static_cast<unsigned>(rows)), dim3(threads)},
           context.compute, part);
  }
}

}  // namespace qsweep::kernels::cuda
