// The CPU strategies behind linear(); see linear.hpp.
#pragma once

#include "kernels/linear/linear.hpp"

namespace qsweep::kernels {

void gemv_packed_rows(const device::Context& context, const LinearArgs& args);
void gemm_dequantized_tiles(const device::Context& context, const LinearArgs& args);

// Adds the bias and rounds y[:, begin..end).
void finish_outputs(const device::Context& context, const LinearArgs& args, int64_t begin,
                    int64_t end);
// Called by each strategy itself, so that a path around it leaves no trace of it.
void count_linear(const device::Context& context, const LinearArgs& args);

}  // namespace qsweep::kernels
