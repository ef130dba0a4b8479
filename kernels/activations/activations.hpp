// Rounds what enters a linear to an activation format:
//   y[r, i] = scale[r] level(x[r, i] / scale[r]),  scale[r] = absmax / range
// with the row's own absmax (token) or the calibrated one (tensor), at least 1e-8; bf16: y = x
// rounded to bf16.
//   x [rows, cols] fp32, row stride ldx; y likewise with ldy, may be x.
// The scale, the quotient and the product are single fp32 operations, so y has the same bits on
// every backend. Bytes: 8 rows cols (token: x is read twice, from the cache). FLOPs: 4 rows cols.
//
// linears() rounds by this op where its kernel does not do it on the way. Those that do multiply
// levels and put the scale on the sums.
#pragma once

#include <cstdint>
#include <string>

#include "device/context.hpp"
#include "quant/format/activations.hpp"

namespace qsweep::kernels {

struct RoundActivationsArgs {
  quant::ActivationRounding rounding;
  const float* x;
  int64_t ldx;
  int64_t rows, cols;
  float* y;
  int64_t ldy;
};

// Counts no kernel: who asked does, for each linear that it rounds for.
void round_activations(const device::Context& context, const RoundActivationsArgs& args);

// "activations/round/fp8_e4m3_token". `where`: the kernel that rounds, or "round" for this op.
std::string activations_kernel_name(const std::string& where,
                                    const quant::ActivationFormat& format);
// In the context's ledger, and in the layer's where there is one.
void count_activations(const device::Context& context, const std::string& where,
                       const quant::ActivationFormat& format, device::KernelCalls* calls);

// Whether rounding changes anything: not where x holds bf16 values already.
inline bool rounds(const device::Context& context, const quant::ActivationFormat& format) {
  if (format.id == quant::ActivationId::bf16) return context.compute != device::Compute::bf16;
  return format.id != quant::ActivationId::none;
}

namespace cuda {
void round_activations(const device::Context& context, const RoundActivationsArgs& args);
}
namespace ref {
void round_activations(const RoundActivationsArgs& args);
}

}  // namespace qsweep::kernels
