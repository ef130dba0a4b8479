#include "kernels/silu_mul/silu_mul.hpp"

#include "kernels/common.hpp"
#include "kernels/simd/row_ops.hpp"

namespace qsweep::kernels {

void silu_mul(const device::Context& context, const SiluMulArgs& args) {
  if (on_gpu(context)) return cuda::silu_mul(context, args);
  const OpTimer timer(context, "silu_mul");
  count(context, "silu_mul/elementwise");
  constexpr int64_t tile = 2048;  // elements: about 2 us, well above the cost of handing it out
  const int64_t per_row = tiles(args.ffn, tile);
#pragma omp parallel for num_threads(threads_of(context)) if (args.rows * args.ffn >= 16 * tile) \
    schedule(static)
  for (int64_t t = 0; t < args.rows * per_row; ++t) {
    const int64_t r = t / per_row, begin = t % per_row * tile;
    const int64_t end = begin + tile < args.ffn ? begin + tile : args.ffn;
    const float* gate = args.gate + r * args.ldg;
    const float* up = args.up + r * args.ldu;
    float* y = args.y + r * args.ffn;
    row_ops().silu(gate + begin, y + begin, end - begin);
    if (context.compute == device::Compute::fp32) {
      for (int64_t i = begin; i < end; ++i) y[i] *= up[i];
    } else {
      for (int64_t i = begin; i < end; ++i) y[i] = rounded(rounded(y[i]) * up[i]);
    }
  }
}

}  // namespace qsweep::kernels
