// Many rows: weights decoded a piece at a time and multiplied by cuBLAS.
#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/common.hpp"
#include "kernels/cuda/blas.hpp"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 256;
// Decoded weights of a piece: well inside Hopper's second-level cache of 50 MB.
constexpr int64_t piece_bytes = int64_t{24} << 20;

// out [rows, cols] of W's rows [first, first + rows).
template <class F, class Out>
__global__ void dequantize(PackedView w, int64_t first, int64_t rows, Out* out) {
  wait_for_previous();
  let_next_start();
  const int64_t pairs = tiles(w.cols, 2), i = int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= rows * pairs) return;
  const int64_t row = i / pairs;
  for (int64_t col = i % pairs * 2; col < min(i % pairs * 2 + 2, w.cols); ++col) {
    const float value = decode<F>(w, first + row, col);
    if constexpr (sizeof(Out) == 2) {
      out[row * w.cols + col] = float_to_bf16(value);
    } else {
      out[row * w.cols + col] = value;
    }
  }
}

template <class Out>
void dequantize_rows(const device::Context& context, const quant::PackedMatrix& weight,
                     int64_t first, int64_t rows, Out* out) {
  const PackedView w = view_of(weight);
  const Grid grid{blocks_for(rows * tiles(w.cols, 2), threads), dim3(threads)};
  format::visit_format(weight.spec.id, [&](auto f) {
    launch(context, dequantize<decltype(f), Out>, grid, w, first, rows, out);
  });
}

bool used_as_is(const device::Context& context, quant::FormatId id) {
  return id ==
         (context.compute == device::Compute::bf16 ? quant::FormatId::bf16 : quant::FormatId::fp32);
}

}  // namespace

void linear_cublas(const device::Context& context, const LinearArgs& args) {
  using device::Buffer;
  const quant::PackedMatrix& w = *args.weight;
  const bool bf16 = context.compute == device::Compute::bf16,
             as_is = used_as_is(context, w.spec.id);
  count_strategy(context, as_is ? "cublas" : "dequantize_cublas", w, args.calls);
  const int64_t element = bf16 ? 2 : 4;
  const int64_t piece =
      as_is ? w.rows : std::clamp<int64_t>(piece_bytes / (w.cols * element), 1, w.rows);
  Buffer decoded(static_cast<size_t>(as_is ? 0 : piece * w.cols * element),
                 device::MemoryClass::workspace, device::Place::gpu);
  Buffer x16(static_cast<size_t>(bf16 ? args.rows * w.cols * 2 : 0), device::MemoryClass::workspace,
             device::Place::gpu);
  if (bf16) to_bf16(context, args.x, args.ldx, args.rows, w.cols, x16.as<uint16_t>());
  Product product;
  product.operand = bf16 ? Operand::bf16 : Operand::fp32;
  product.a = bf16 ? static_cast<const void*>(x16.data()) : args.x;
  product.lda = bf16 ? w.cols : args.ldx;
  product.ldb = product.inner = w.cols;
  product.ldc = args.ldy;
  product.rows = args.rows;
  for (int64_t first = 0; first < w.rows; first += piece) {
    const int64_t rows = std::min(piece, w.rows - first);
    if (!as_is && bf16) dequantize_rows(context, w, first, rows, decoded.as<uint16_t>());
    if (!as_is && !bf16) dequantize_rows(context, w, first, rows, decoded.as<float>());
    product.b = as_is ? w.codes.data() : decoded.data();
    product.c = args.y + first;
    product.cols = rows;
    multiply(context, product);
  }
  finish_rows(context, args.bias, args.rows, w.rows, args.y, args.ldy);
}

}  // namespace qsweep::kernels::cuda
