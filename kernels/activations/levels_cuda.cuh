// Rows of bf16 activations as levels, for products that put scales on their sums.
#pragma once

#include "kernels/activations/activations_cuda.cuh"

namespace qsweep::kernels::cuda {

// x [rows, cols] bf16 -> levels [rows, cols], in bf16 (which may be x) or as E4M3 codes, and scales
// [rows]. Without gaps.
void levels_of_rows(const device::Context& context, const Levels& levels, const uint16_t* x,
                    int64_t rows, int64_t cols, uint16_t* out, float* scales);
void levels_of_rows(const device::Context& context, const Levels& levels, const uint16_t* x,
                    int64_t rows, int64_t cols, uint8_t* out, float* scales);

}  // namespace qsweep::kernels::cuda
