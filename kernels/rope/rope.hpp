// Rotary position embedding, half-split: the pair (x[i], x[i + D/2]), i < D/2, turns by angle p *
// f[i]:
//   x'[i] = x[i] cos - x[i + D/2] sin,   x'[i + D/2] = x[i + D/2] cos + x[i] sin.
//   x [rows, heads, D] in place, row stride ldx; cos, sin [rows, D/2], both times the attention
//   factor.
// Frequencies are rounded to fp32 and the angle is an fp32 product, as transformers has it: at
// position 32768 the rounding of the angle is 2e-3 rad, so a more exact angle would be a different
// model. Bytes: 8 rows heads D + 4 rows D. FLOPs: 3 rows heads D. |error| <= 4 * 2^-24 (|x[i]| +
// |x[i + D/2]|) in fp32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/context.hpp"

namespace qsweep::kernels {

// f[i] = theta^(-2i/D), i < D/2.
std::vector<float> rope_frequencies(double theta, int64_t head_dim);

// llama3: wavelengths above original / low are slowed by `factor`, those below original / high are
// kept, and between them f = (1 - s) f / factor + s f with s = (original / wavelength - low) /
// (high - low).
struct Llama3Scaling {
  double factor, low_freq_factor, high_freq_factor;
  int64_t original_max_positions;
};
std::vector<float> rope_frequencies_llama3(double theta, int64_t head_dim,
                                           const Llama3Scaling& scaling);

// longrope: f[i] = 1 / (factor[i] theta^(2i/D)); factors [D/2], the short or the long ones.
std::vector<float> rope_frequencies_longrope(double theta, int64_t head_dim,
                                             std::span<const double> factors);

// cos and sin [rows, D/2] of consecutive positions first, first + 1, ...; rounded where activations
// are bf16.
struct RopeTableArgs {
  const float* frequencies;  // [D/2]
  double attention_factor;
  int64_t first, rows, half_dim;
  float* cos;
  float* sin;
  const int32_t* position = nullptr;  // [1] GPU only: stands for `first`, so that a graph replays
};
void rope_table(const device::Context& context, const RopeTableArgs& args);

struct RopeArgs {
  float* x;
  int64_t ldx;
  int64_t rows, heads, head_dim;
  const float* cos;  // [rows, D/2]
  const float* sin;
};
void rope(const device::Context& context, const RopeArgs& args);

namespace cuda {
void rope_table(const device::Context& context, const RopeTableArgs& args);
void rope(const device::Context& context, const RopeArgs& args);
}  // namespace cuda
namespace ref {
void rope_table(const RopeTableArgs& args);
void rope(const RopeArgs& args);
}  // namespace ref

}  // namespace qsweep::kernels
