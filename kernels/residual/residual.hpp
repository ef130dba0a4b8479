// Residual: h[i] = h[i] + x[i], i < n, fp32; rounded where activations are bf16.
// Bytes: 12 n. FLOPs: n. |error| <= 2^-24 |h| in fp32.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels {

void residual_add(const device::Context& context, const float* x, float* h, int64_t n);

namespace cuda {
void residual_add(const device::Context& context, const float* x, float* h, int64_t n);
}
namespace ref {
void residual_add(const float* x, float* h, int64_t n);
}

}  // namespace qsweep::kernels
