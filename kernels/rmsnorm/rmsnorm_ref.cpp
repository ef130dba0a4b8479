#include <cmath>

#include "kernels/rmsnorm/rmsnorm.hpp"

namespace qsweep::kernels::ref {

void rmsnorm(const RmsNormArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t p = 0; p < args.parts; ++p) {
      const float* x = args.x + r * args.ldx + p * args.dim;
      float* y = args.y + r * args.ldy + p * args.dim;
      double squares = 0;
      for (int64_t i = 0; i < args.dim; ++i) squares += static_cast<double>(x[i]) * x[i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(args.dim) + args.eps);
      for (int64_t i = 0; i < args.dim; ++i) {
        y[i] = static_cast<float>(args.weight[i] * (x[i] * scale));
      }
    }
  }
}

}  // namespace qsweep::kernels::ref
