// RMSNorm: y = w * (x / sqrt(mean(x^2) + eps)), over each of `parts` consecutive vectors of a row.
//   x [rows, parts, dim], row stride ldx; y likewise with ldy, may be x; w [dim] shared by all
//   parts (parts > 1 serves the per-head query and key norms).
// Sum of squares in fp32 lanes; with bf16 activations the normed value is rounded before w
// multiplies it, and the product again. Bytes: 8 rows parts dim + 4 dim. FLOPs: 4 rows parts dim.
// |error| <= (dim / 8 + 12) 2^-24 |y| in fp32.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels {

struct RmsNormArgs {
  const float* x;
  int64_t ldx;
  const float* weight;  // [dim]
  double eps;
  int64_t rows, parts, dim;
  float* y;
  int64_t ldy;
};

void rmsnorm(const device::Context& context, const RmsNormArgs& args);

namespace cuda {
void rmsnorm(const device::Context& context, const RmsNormArgs& args);
}
namespace ref {
void rmsnorm(const RmsNormArgs& args);
}

}  // namespace qsweep::kernels
