// What the GPU reaches: the yardsticks of every fraction a record states for it.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels::cuda {

// Best rate [byte/s] of reading `bytes` of random data once, 16 bytes a lane.
double read_rate(const device::Context& context, uint64_t bytes);
// Best rate [FLOP/s] of an 8192^3 (fp32: 4096^3) matrix product of random data in the context's
// activation type.
double matrix_rate(const device::Context& context);

}  // namespace qsweep::kernels::cuda
