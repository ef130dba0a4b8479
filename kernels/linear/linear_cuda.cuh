// The GPU strategies behind linear() and linears().
//
//   stream      up to 16 rows, bf16 activations, formats and shapes that fit its vectors: weights
//     are read once, packed, 16 bytes a lane, turned into bf16 in registers and multiplied on
//     tensor cores; bf16, int4, int8 and fp8 codes are exact there, scales multiply fp32 sums. nf4
//     levels are split into two bf16 numbers (relative error 2^-17). Warps of a block share 16 rows
//     of W by columns and add their sums in a fixed order. |error| <= ((in + 64) 2^-23 + [nf4]
//     2^-16) sum_i |W x|: tensor cores cut instead of rounding.
//   gemv        up to 8 rows, everything else: a warp for each row of W, codes decoded one by one
//   by
//     the host's own functions, fp32 sums. |error| as on the CPU.
//   dequantize_cublas   more rows: W decoded to bf16 (fp32 with fp32 activations) in pieces that
//     stay in the second-level cache, multiplied by cuBLAS. bf16 weights are used as they are:
//     `cublas`. |error| <= ((in + 2) 2^-23 + [decoded to bf16] 2^-8) sum_i |W x|.
#pragma once

#include "kernels/linear/linear.hpp"
#include "kernels/linear/linears.hpp"

namespace qsweep::kernels::cuda {

inline constexpr int64_t gemv_rows = 8, stream_rows = 16;

void linear_gemv(const device::Context& context, const LinearArgs& args);
void linear_cublas(const device::Context& context, const LinearArgs& args);

// Counts a strategy in the context's ledger and the layer's.
void count_strategy(const device::Context& context, const char* strategy,
                    const quant::PackedMatrix& weight, device::KernelCalls* calls);

}  // namespace qsweep::kernels::cuda
