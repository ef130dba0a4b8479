// Gated activation: y = silu(gate) * up, silu(x) = x / (1 + exp(-x)).
//   gate, up [rows, ffn], row strides ldg and ldu (so both may lie in one [rows, 2 ffn] matrix); y
//   [rows, ffn].
// With bf16 activations silu(gate) is rounded before up multiplies it. Bytes: 12 rows ffn. FLOPs: 5
// rows ffn. |error| <= 8 * 2^-24 |y| in fp32 (expf within 1 ulp, whose error (1 + |gate|) enters
// damped by silu); below -88.7 exp overflows and y is 0, which is off by at most 3e-37 |up|.
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
