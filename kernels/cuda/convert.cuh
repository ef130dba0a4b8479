// Passes between matrix products: fp32 activations to bf16, and what is done to a finished result.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels::cuda {

// out [rows, cols] bf16, without gaps; x fp32, row stride ldx. Exact where activations are bf16.
void to_bf16(const device::Context& context, const float* x, int64_t ldx, int64_t rows,
             int64_t cols, uint16_t* out);

// Sums of products, row stride ld, with what may be put on them: a scale for each row, a bias.
struct RowSums {
  const float* sums;
  int64_t ld;
  const float* scales = nullptr;  // [rows] or null
  const float* bias = nullptr;    // [cols] or null
};
// out[r, c] = bf16 of (scales[r] sums[r, c] + bias[c]), row stride ldo.
void sums_to_bf16(const device::Context& context, const RowSums& sums, int64_t rows, int64_t cols,
                  uint16_t* out, int64_t ldo);

// y[r, c] = stored(y[r, c] + bias[c]), row stride ldy; bias may be null.
void finish_rows(const device::Context& context, const float* bias, int64_t rows, int64_t cols,
                 float* y, int64_t ldy);

}  // namespace qsweep::kernels::cuda
