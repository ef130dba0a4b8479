// Linear layer on packed weights: y[r, o] = sum_i W[o, i] x[r, i] + b[o].
//   W [out, in] packed in any format; x [rows, in] fp32, row stride ldx; b [out] fp32 or null;
//   y [rows, out] fp32, row stride ldy (so that separate q, k, v may fill one matrix side by side).
// Two strategies on the CPU, chosen by rows alone (those of the GPU: linear_cuda.cuh):
//   gemv       rows <= 4: each weight row is read packed and multiplied in registers; nothing is
//   dequantized to
//              memory. Bytes: W packed once (cached across rows) + 4 (in + out) rows.
//   gemm_tile  more rows: a tile of weight rows is dequantized to fp32 (at most 64 rows, a core's
//   cache) and
//              multiplied by single-threaded SGEMM. Bytes: W packed once + x once a tile.
// FLOPs: 2 rows out in. Tiles have a fixed size and one owner, so the bits do not depend on the
// thread count; they do depend on the strategy. Accumulation in fp32. |error| <= (in / 8 + groups +
// 16) 2^-24 sum_i |W x| (gemv), (in + 2) 2^-24 sum_i |W x| (gemm_tile: SGEMM's order is its own).
// Rounded to bf16 after the bias where activations are bf16.
#pragma once

#include <cstdint>
#include <string>

#include "device/context.hpp"
#include "quant/format/format.hpp"

namespace qsweep::kernels {

// Above, SGEMM on a dequantized tile wins over reading the packed row once more for each x row.
inline constexpr int64_t gemv_max_rows = 4;

struct LinearArgs {
  const quant::PackedMatrix* weight;  // [out, in]
  const float* bias = nullptr;        // [out] or null
  const float* x;
  int64_t ldx;
  int64_t rows;
  float* y;
  int64_t ldy;
  device::KernelCalls* calls =
      nullptr;  // this layer's own ledger, beside the context's; may be null
};

// Counts its kernel in both ledgers, under the format it really dispatched on.
void linear(const device::Context& context, const LinearArgs& args);

// "linear/gemv/int4_g128_e5m5": what linear() counts for this many rows on the CPU.
std::string linear_kernel_name(const quant::FormatSpec& spec, int64_t rows);
// The same for a named strategy.
std::string linear_kernel_name(const std::string& strategy, const quant::FormatSpec& spec);

namespace cuda {
void linear(const device::Context& context, const LinearArgs& args);
}
namespace ref {
void linear(const LinearArgs& args);
}

}  // namespace qsweep::kernels
