#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::ref {

void silu_mul(const SiluMulArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t i = 0; i < args.ffn; ++i) {
      const double gate = args.gate[r * args.ldg + i], up = args.up[r * args.ldu + i];
      args.y[r * args.ffn + i] = static_cast<float>(silu(gate) * up);
    }
  }
}

}  // namespace qsweep::kernels::ref
