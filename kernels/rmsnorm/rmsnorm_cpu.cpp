#include <cmath>

#include "kernels/common.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/simd/row_ops.hpp"

namespace qsweep::kernels {
namespace {

void norm_one(device::Compute compute, const RmsNormArgs& args, const float* x, float* y) {
  const float mean = row_ops().dot_fp32(x, x, args.dim) / static_cast<float>(args.dim);
  const float scale = 1.0f / std::sqrt(mean + static_cast<float>(args.eps));
  if (compute == device::Compute::fp32) {
    for (int64_t i = 0; i < args.dim; ++i) y[i] = args.weight[i] * (x[i] * scale);
  } else {
    for (int64_t i = 0; i < args.dim; ++i) {
      y[i] = stored(compute, args.weight[i] * stored(compute, x[i] * scale));
    }
  }
}

}  // namespace

void rmsnorm(const device::Context& context, const RmsNormArgs& args) {
  if (on_gpu(context)) return cuda::rmsnorm(context, args);
  const OpTimer timer(context, "rmsnorm");
  count(context, "rmsnorm/row");
  const int64_t work = args.rows * args.parts;
#pragma omp parallel for num_threads(threads_of(context)) if (work >= 64) schedule(static)
  for (int64_t i = 0; i < work; ++i) {
    const int64_t r = i / args.parts, offset = i % args.parts * args.dim;
    norm_one(context.compute, args, args.x + r * args.ldx + offset, args.y + r * args.ldy + offset);
  }
}

}  // namespace qsweep::kernels
