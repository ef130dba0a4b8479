#include "kernels/common.hpp"
#include "kernels/residual/residual.hpp"

namespace qsweep::kernels {

void residual_add(const device::Context& context, const float* x, float* h, int64_t n) {
  if (on_gpu(context)) return cuda::residual_add(context, x, h, n);
  const OpTimer timer(context, "residual_add");
  count(context, "residual/add");
  const device::Compute compute = context.compute;
  // A pass over memory: below a megabyte starting threads costs more than it saves.
#pragma omp parallel for simd num_threads(threads_of(context)) if (n >= (1 << 18)) schedule(static)
  for (int64_t i = 0; i < n; ++i) h[i] = stored(compute, h[i] + x[i]);
}

}  // namespace qsweep::kernels
