#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/rmsnorm/rmsnorm_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

template <bool Whole>
__global__ void row(device::Compute compute, RmsNormArgs args) {
  wait_for_previous();
  let_next_start();
  const auto parts = static_cast<unsigned>(args.parts);
  const int64_t r = blockIdx.x / parts, offset = blockIdx.x % parts * args.dim;
  norm_vector<Whole>(compute, args.x + r * args.ldx + offset, args.weight,
                     static_cast<int>(args.dim), static_cast<float>(args.eps),
                     args.y + r * args.ldy + offset);
}

}  // namespace

void rmsnorm(const device::Context& context, const RmsNormArgs& args) {
  count(context, "rmsnorm/row");
  const int64_t vectors = args.rows * args.parts;
  if (vectors == 0) return;
  const bool whole = takes_quads(args.x, args.ldx) && takes_quads(args.y, args.ldy) &&
                     takes_quads(args.weight, args.dim);
  launch(context, whole ? row<true> : row<false>, {blocks_for(vectors, 1), norm_threads(args.dim)},
         context.compute, args);
}

}  // namespace qsweep::kernels::cuda
