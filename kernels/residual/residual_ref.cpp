#include "kernels/residual/residual.hpp"

namespace qsweep::kernels::ref {

void residual_add(const float* x, float* h, int64_t n) {
  for (int64_t i = 0; i < n; ++i) h[i] = static_cast<float>(static_cast<double>(h[i]) + x[i]);
}

}  // namespace qsweep::kernels::ref
