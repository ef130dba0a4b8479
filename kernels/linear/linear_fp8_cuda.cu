// E4M3 weights with a scale a row, or one in all, multiplied with E4M3 activations as they are.
#include "device/buffer.hpp"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;

constexpr int block_threads = 256;

__global__ void expand_scales(PackedView w, float* out) {
  wait_for_previous();
  let_next_start();
  const int64_t row = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  if (row < w.rows) out[row] = w.scale(w.groups.index(row, 0));
}

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

bool one_scale_a_row(const quant::FormatSpec& spec, int64_t cols) {
  return spec.group <= 0 || spec.group >= cols;
}

Fp8Product product_of(const LinearPart& part, int64_t rows, void* c, int64_t ldc) {
  Fp8Product product;
  product.b = reinterpret_cast<const uint8_t*>(part.weight->codes.data());
  product.result = part.bias == nullptr ? Operand::bf16 : Operand::fp32;
  product.c = c;
  product.ldc = part.bias == nullptr ? ldc : part.weight->rows;
  product.rows = rows;
  product.cols = part.weight->rows;
  product.inner = part.weight->cols;
  return product;
}

}  // namespace

bool takes_fp8(const device::Context& context, const LinearPart& part, int64_t rows, int64_t ldo) {
  const quant::PackedMatrix& w = *part.weight;
  return w.spec.id == quant::FormatId::fp8_e4m3 && one_scale_a_row(w.spec, w.cols) &&
         takes_fp8(context, product_of(part, rows, nullptr, ldo));
}

void multiply_fp8(const device::Context& context, const LinearPart& part, const uint8_t* codes,
                  const float* scales, int64_t rows, uint16_t* out, int64_t ldo) {
  const quant::PackedMatrix& w = *part.weight;
  count_strategy(context, "cublas_fp8", w, part.calls);
  Buffer expanded = scratch(w.rows * 4);
  launch(context, expand_scales, {blocks_for(w.rows, block_threads), dim3(block_threads)},
         view_of(w), expanded.as<float>());
  Buffer sums = scratch(part.bias == nullptr ? 0 : rows * w.rows * 4);
  Fp8Product product = product_of(part, rows, out, ldo);
  if (part.bias != nullptr) product.c = sums.data();
  product.a = codes;
  product.a_scale = scales;
  product.b_scale = expanded.as<float>();
  multiply(context, product);
  if (part.bias == nullptr) return;
  sums_to_bf16(context, {sums.as<float>(), w.rows, nullptr, part.bias}, rows, w.rows, out, ldo);
}

}  // namespace qsweep::kernels::cuda
