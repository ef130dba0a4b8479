#include <cmath>

#include "kernels/common.hpp"
#include "kernels/rope/rope.hpp"

namespace qsweep::kernels {

void rope_table(const device::Context& context, const RopeTableArgs& args) {
  if (on_gpu(context)) return cuda::rope_table(context, args);
  const OpTimer timer(context, "rope_table");
  count(context, "rope/table");
  const auto factor = static_cast<float>(args.attention_factor);
#pragma omp parallel for num_threads(threads_of(context)) if (args.rows >= 64) schedule(static)
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t i = 0; i < args.half_dim; ++i) {
      const float angle = static_cast<float>(args.first + r) * args.frequencies[i];
      args.cos[r * args.half_dim + i] = stored(context.compute, std::cos(angle) * factor);
      args.sin[r * args.half_dim + i] = stored(context.compute, std::sin(angle) * factor);
    }
  }
}

void rope(const device::Context& context, const RopeArgs& args) {
  if (on_gpu(context)) return cuda::rope(context, args);
  const OpTimer timer(context, "rope");
  count(context, "rope/rotate_half");
  const device::Compute compute = context.compute;
  const int64_t half = args.head_dim / 2;
#pragma omp parallel for num_threads(threads_of(context)) if (args.rows >= 64) schedule(static)
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* cos = args.cos + r * half;
    const float* sin = args.sin + r * half;
    for (int64_t h = 0; h < args.heads; ++h) {
      float* x = args.x + r * args.ldx + h * args.head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = stored(compute, stored(compute, a * cos[i]) - stored(compute, b * sin[i]));
        x[i + half] = stored(compute, stored(compute, b * cos[i]) + stored(compute, a * sin[i]));
      }
    }
  }
}

}  // namespace qsweep::kernels
