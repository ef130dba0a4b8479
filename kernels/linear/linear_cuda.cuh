// The GPU strategies behind linear() and linears().
//
//   stream      up to 16 rows (8 of plain weights) that the next two leave to it, bf16 activations,
//     what fits its vectors. W is read once, packed, by bulk copies into a ring in shared memory
//     (stream.cuh), turned into fp16 (bf16 weights stay) and multiplied on tensor cores; codes of
//     all formats are exact there but nf4's levels (2^-12), scales multiply fp32 sums. |error| <=
//     ((in + 64) 2^-23 + [nf4] 2^-12) sum_i |W x|: tensor cores cut instead of rounding. int4's
//     codes are multiplied unsigned: there (|W| + offset) |x| stands for |W x|, the offset being 8
//     or the zero point, times the scale.
//   stream_one  one row of up to 8192 columns, bf16 activations (stream_one.cuh). As stream, which
//     keeps nf4, zero points, activations that are rounded, scales in dq8 or in groups that are not
//     whole 64 bytes of codes, rows that are not an even number of these, and what leaves no room
//     for two stages. Integer codes are multiplied as integers, without an offset, but with x
//     rounded to steps of 2^-29 of its largest element at most: that adds 2^-30 (1 + 2^-7)
//     max_i |x_i| sum_i |W| where 2^-90 <= max_i |x_i| < 2^100; below x counts as 0, and above y is
//     NaN, as it may be where scales are above 2^78.
//   tiles       5 to 128 rows, bf16 activations, 4-bit weights with a scale a row or in groups of
//     64 or more: weights are read once for each 64 rows, packed, and multiplied as exact fp16
//     levels (nf4's to 2^-12) with the input as fp16 (tiles.cuh); groups of warps share the
//     columns, and blocks of a cluster may, so sums of an output meet. |error| as of stream,
//     without an offset.
//   gemv        up to 8 rows, everything else: a warp for each row of W, codes decoded one by one
//     by the host's own functions, fp32 sums. |error| as on the CPU.
//   dequantize_cublas   more rows: W decoded to bf16 (fp32 with fp32 activations) in pieces that
//     stay in the second-level cache, multiplied by cuBLAS. bf16 weights are used as they are:
//     `cublas`. |error| <= ((in + 2) 2^-23 + [decoded to bf16] 2^-8) sum_i |W x|. linears() of bf16
//     activations hands them to cuBLAS in bf16 and takes its results so (linears_rows_cuda.cu).
//   cublas_fp8   more than 8 rows of E4M3 activations on E4M3 weights with a scale a row: the codes
//     as they are, by cuBLASLt. Hopper's tensor cores add E4M3 products 32 at a time with 13 bits
//     behind the point of the largest addend (about 14 in all: DeepSeek-V3 technical report,
//     3.3.2), so that each product and each sum before may lose 2^-13 of that:
//     |error| <= (2^-13 in / 32 + (in + 4) 2^-23) sum_i |W x| + 2^-13 in max_i |W x|.
// Activations that are rounded go into all of them as levels, which fp16 and bf16 hold exactly, and
// their scale is put on the sums; only gemv gets scaled values.
#pragma once

#include "kernels/cuda/blas.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/linear/linears.hpp"

namespace qsweep::kernels::cuda {

inline constexpr int64_t gemv_rows = 8, stream_rows = 16;
inline constexpr int64_t tiles_least_rows = 5, tiles_rows = 128;
inline constexpr int64_t plain_stream_rows = 8;  // bf16 and fp16 weights: then cuBLAS is as fast

// Each says whether it took the linears; they are asked in this order.
bool stream_one_linears(const device::Context& context, const LinearsArgs& args);
bool tile_linears(const device::Context& context, const LinearsArgs& args);
bool stream_linears(const device::Context& context, const LinearsArgs& args);
bool many_rows_linears(const device::Context& context, const LinearsArgs& args);

void linear_gemv(const device::Context& context, const LinearArgs& args);
void linear_cublas(const device::Context& context, const LinearArgs& args);

// product.c [rows, out] = product.a W^T by cuBLAS, the strategy counted; b, its strides and the
// inner size are filled in here. Operands are bf16 or fp32, W is decoded to their type.
void multiply_weight(const device::Context& context, const quant::PackedMatrix& w,
                     device::KernelCalls* calls, Product product);

// Whether multiply_fp8() takes this linear for so many rows.
bool takes_fp8(const device::Context& context, const LinearPart& part, int64_t rows, int64_t ldo);
// out[r, o] = bf16 of (scales[r] sum_i W[o, i] level(codes[r, i]) + b[o]), row stride ldo, by
// cuBLAS's E4M3 products; codes [rows, in] without gaps, scales [rows]. Counted.
void multiply_fp8(const device::Context& context, const LinearPart& part, const uint8_t* codes,
                  const float* scales, int64_t rows, uint16_t* out, int64_t ldo);

// out [rows, in], without gaps, of W's rows [first, first + rows): decode() of packed.cuh, rounded
// to bf16.
void dequantize(const device::Context& context, const quant::PackedMatrix& weight, int64_t first,
                int64_t rows, uint16_t* out);
void dequantize(const device::Context& context, const quant::PackedMatrix& weight, int64_t first,
                int64_t rows, float* out);  // not rounded

// Counts a strategy in the context's ledger and the layer's.
void count_strategy(const device::Context& context, const char* strategy,
                    const quant::PackedMatrix& weight, device::KernelCalls* calls);

}  // namespace qsweep::kernels::cuda
