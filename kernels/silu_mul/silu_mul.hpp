// Gated activation: y = silu(gate) * up, silu(x) = x / (1 + exp(-x)).
//   gate, up [rows, ffn], row strides ldg and ldu (so both may lie in one [rows, 2 ffn] matrix); y
//   [rows, ffn].
// With bf16 activations silu(gate) is rounded before up multiplies it. Bytes: 12 rows ffn. FLOPs: 5
// rows ffn. |error| <= 12 * 2^-24 |y| in fp32: silu within 10 (simd/row_ops.hpp), one for the
// product and a margin of one; below -86.5 silu counts as 0, which is off by at most 2.4e-36 |up|.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/half.hpp"
#include "device/context.hpp"

namespace qsweep::kernels {

template <class Real>
QSWEEP_HD inline Real silu(Real x) {
  return x / (Real(1) + std::exp(-x));
}

struct SiluMulArgs {
  const float* gate;
  int64_t ldg;
  const float* up;
  int64_t ldu;
  int64_t rows, ffn;
  float* y;  // [rows, ffn]
};

void silu_mul(const device::Context& context, const SiluMulArgs& args);

namespace cuda {
void silu_mul(const device::Context& context, const SiluMulArgs& args);
}
namespace ref {
void silu_mul(const SiluMulArgs& args);
}

}  // namespace qsweep::kernels
