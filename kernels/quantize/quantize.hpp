// quantize: W packed as `spec` by round-to-nearest; formulas and layouts in src/quant/format.
//   W [rows, cols] in a format without scales (bf16, fp16, fp32). The packed bytes are the same on
//   every backend, bit for bit: those of quant::quantize_rtn. Throws Error{invalid_input} for what
//   that refuses, in the same words.
//   Bytes: W twice (extremes, then codes), the packed matrix once. FLOPs: a division and a rounding
//   for every weight.
//
// quantization_error: sums over all weights w and what the packed matrix decodes to, v, and the
// worst group's error. Accumulation in double; on the CPU in order, on the GPU piece by piece of a
// group, then over groups, in an order that depends on the shape alone. Error bound: (cols + 64) *
// 2^-53 of each sum's magnitude.
//   Bytes: W and the packed matrix once.
//
// Both lie in the context's place, and so does the result.
#pragma once

#include <span>

#include "device/context.hpp"
#include "quant/format/format.hpp"

namespace qsweep::kernels {

struct ErrorSums {
  double error = 0;        // (w - v)^2
  double energy = 0;       // w^2
  double decoded = 0;      // v^2
  double product = 0;      // w v
  double worst_group = 0;  // largest error / energy of a group
};
// error / energy: nothing wrong with nothing is no error; something wrong with nothing is all
// wrong.
double relative_error(double error, double energy);

quant::PackedMatrix quantize(const device::Context& context, const quant::FormatSpec& spec,
                             const quant::PackedMatrix& weights);
ErrorSums quantization_error(const device::Context& context, const quant::PackedMatrix& packed,
                             const quant::PackedMatrix& weights);

namespace cuda {
quant::PackedMatrix quantize(const device::Context& context, const quant::FormatSpec& spec,
                             const quant::PackedMatrix& weights);
ErrorSums quantization_error(const device::Context& context, const quant::PackedMatrix& packed,
                             const quant::PackedMatrix& weights);
}  // namespace cuda

namespace cpu {
// weights: fp32 [rows, cols].
ErrorSums quantization_error(const quant::PackedMatrix& packed, std::span<const float> weights);
}  // namespace cpu

}  // namespace qsweep::kernels
