// Several linears on one input, with what stands around them, so that a backend may do it in one
// pass over the weights:
//   n = norm(x) or x, rounded as `activations` says;
//   p = [W_0 n + b_0 | W_1 n + b_1 | ...];  then by `finish`
//   none      y = p
//   residual  y = y + p
//   gate      y = silu(first half of p) * second half
// By definition what rmsnorm(), round_activations(), linear(), residual_add() and silu_mul() give
// one after another, with their rounding, their bytes and their bounds; on the CPU it is just that.
// The GPU's ways are in linear_cuda.cuh.
#pragma once

#include <span>

#include "kernels/linear/linear.hpp"
#include "quant/format/activations.hpp"

namespace qsweep::kernels {

struct LinearPart {
  const quant::PackedMatrix* weight;     // [out, in], the same `in` in all parts
  const float* bias = nullptr;           // [out] or null
  device::KernelCalls* calls = nullptr;  // the layer's own ledger, or null
};

enum class Finish : uint8_t { none, residual, gate };

struct LinearsArgs {
  std::span<const LinearPart> parts;  // at least one; out is the sum of theirs
  const float* x;                     // [rows, in] without gaps
  int64_t rows;
  const float* norm_weight = nullptr;  // [in], or null: x is taken as it is
  double norm_eps = 0;
  quant::ActivationRounding activations = {};
  Finish finish = Finish::none;
  float* y;                  // [rows, out] without gaps; gate: [rows, out / 2]
  float* normed = nullptr;   // scratch [rows, in], needed with norm_weight or activations
  float* product = nullptr;  // scratch [rows, out], needed with a finish; may not be y
};
void linears(const device::Context& context, const LinearsArgs& args);

namespace cuda {
// Whether a kernel took them whole; else they are done one op after another.
bool fused_linears(const device::Context& context, const LinearsArgs& args);
}  // namespace cuda

}  // namespace qsweep::kernels
