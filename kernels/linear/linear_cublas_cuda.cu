// Many rows: weights decoded a piece at a time and multiplied by cuBLAS.
#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/common.hpp"
#include "kernels/cuda/convert.cuh"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;

// Decoded weights of a piece: well inside Hopper's second-level cache of 50 MB.
constexpr int64_t piece_bytes = int64_t{24} << 20;
// Of a piece, where it has so many: whole tiles of every product that cuBLAS may choose.
constexpr int64_t row_tile = 256;

int64_t piece_rows(const quant::PackedMatrix& w, int64_t element) {
  const int64_t rows = std::clamp<int64_t>(piece_bytes / (w.cols * element), 1, w.rows);
  return rows < w.rows && rows > row_tile ? rows / row_tile * row_tile : rows;
}

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

}  // namespace

void multiply_weight(const device::Context& context, const quant::PackedMatrix& w,
                     device::KernelCalls* calls, Product product) {
  const bool bf16 = product.operand == Operand::bf16;
  const bool as_is = w.spec.id == (bf16 ? quant::FormatId::bf16 : quant::FormatId::fp32);
  count_strategy(context, as_is ? "cublas" : "dequantize_cublas", w, calls);
  const int64_t element = bytes_of(product.operand);
  const int64_t piece = as_is ? w.rows : piece_rows(w, element);
  Buffer decoded = scratch(as_is ? 0 : piece * w.cols * element);
  auto* const c = static_cast<std::byte*>(product.c);
  product.ldb = product.inner = w.cols;
  for (int64_t first = 0; first < w.rows; first += piece) {
    product.cols = std::min(piece, w.rows - first);
    product.b = as_is ? w.codes.data() : decoded.data();
    product.c = c + first * bytes_of(product.result);
    if (!as_is && bf16) dequantize(context, w, first, product.cols, decoded.as<uint16_t>());
    if (!as_is && !bf16) dequantize(context, w, first, product.cols, decoded.as<float>());
    multiply(context, product);
  }
}

void linear_cublas(const device::Context& context, const LinearArgs& args) {
  const quant::PackedMatrix& w = *args.weight;
  const bool bf16 = context.compute == device::Compute::bf16;
  Buffer x16 = scratch(bf16 ? args.rows * w.cols * 2 : 0);
  if (bf16) to_bf16(context, args.x, args.ldx, args.rows, w.cols, x16.as<uint16_t>());
  Product product;
  product.operand = bf16 ? Operand::bf16 : Operand::fp32;
  product.a = bf16 ? static_cast<const void*>(x16.data()) : args.x;
  product.lda = bf16 ? w.cols : args.ldx;
  product.c = args.y;
  product.ldc = args.ldy;
  product.rows = args.rows;
  multiply_weight(context, w, args.calls, product);
  finish_rows(context, args.bias, args.rows, w.rows, args.y, args.ldy);
}

}  // namespace qsweep::kernels::cuda
