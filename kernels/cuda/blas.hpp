// Matrix products of the GPU backend by cuBLAS: bf16 or fp32 operands, fp32 sums, results in fp32
// or rounded once to bf16.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels::cuda {

enum class Operand { fp32, bf16 };

inline constexpr int64_t bytes_of(Operand type) {
  return type == Operand::bf16 ? 2 : 4;
}

// For each of `batch`: c[r, n] = scale * sum_k a[r, k] b[n, k] (b_transposed) or b[k, n] (not), all
// row-major with row strides lda, ldb, ldc, and strides from one product to the next. Within one
// process the same call gives the same bits: cuBLAS keeps its promise for one stream with a
// workspace of its own.
struct Product {
  Operand operand = Operand::bf16;
  const void* a = nullptr;
  int64_t lda = 0, stride_a = 0;
  const void* b = nullptr;
  int64_t ldb = 0, stride_b = 0;
  bool b_transposed = true;
  Operand result = Operand::fp32;
  void* c = nullptr;
  int64_t ldc = 0, stride_c = 0;
  int64_t rows = 0, cols = 0, inner = 0, batch = 1;
  float scale = 1;
};
void multiply(const device::Context& context, const Product& product);

// c[r, n] = a_scale[r] b_scale[n] sum_k a[r, k] b[n, k], E4M3 codes without gaps, fp32 sums; c in
// fp32 or rounded once to bf16.
struct Fp8Product {
  const uint8_t* a = nullptr;
  const float* a_scale = nullptr;  // [rows]
  const uint8_t* b = nullptr;
  const float* b_scale = nullptr;  // [cols]
  Operand result = Operand::bf16;
  void* c = nullptr;
  int64_t ldc = 0;
  int64_t rows = 0, cols = 0, inner = 0;
};
// Whether cuBLAS has a kernel for this shape; pointers and scales do not matter.
bool takes_fp8(const device::Context& context, const Fp8Product& product);
void multiply(const device::Context& context, const Fp8Product& product);

}  // namespace qsweep::kernels::cuda
