// The error that quantizing one matrix made: ||W - W^||^2 / ||W||^2 (relative MSE), the same of the
// worst group, cosine similarity, SQNR [dB] = -10 log10(relative MSE), and the bytes it takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/quantize/quantize.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant {

struct TensorError {
  std::string tensor;  // linear name, e.g. model.layers.0.mlp.down_proj
  int64_t layer = -1;
  FormatSpec spec;
  double relative_mse = 0, worst_group = 0, cosine = 1;
  uint64_t code_bytes = 0, scale_bytes = 0;  // scale bytes include zeros
  int64_t rows = 0, cols = 0;
};

TensorError measure_error(const std::string& tensor, int64_t layer, const PackedMatrix& packed,
                          const kernels::ErrorSums& sums);
// The same on the host; weights: the original, fp32 [rows, cols].
TensorError measure_error(const std::string& tensor, int64_t layer, const PackedMatrix& packed,
                          std::span<const float> weights);

// Two-sided band [low, high] dB in which the SQNR of the format must lie for weights that are
// neither constant nor adversarial; implausibly good fails too. Derived in error_table.cpp.
struct SqnrBand {
  double low_db, high_db;
};
SqnrBand sqnr_band(const FormatSpec& spec, int64_t cols);

}  // namespace qsweep::quant
