// linears() of many rows with bf16 activations. What goes into and comes out of cuBLAS is bf16, so
// that a pass before and one behind the products do all that stands around them: x (normed where
// there is a norm) -> operand [rows, in]; products -> [rows, out], rounded once from fp32 sums; y.
// Every rounding is that of the ops one by one. Activations that are rounded to levels go in as
// levels, which bf16 holds exactly, or as the E4M3 codes they are; their scales are put on the
// sums.
#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/activations/levels_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/quads.cuh"
#include "kernels/linear/linear_cuda.cuh"
#include "kernels/rmsnorm/rmsnorm_cuda.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;

// A row a block.
template <bool Whole>
__global__ void norm_to_bf16(const float* x, const float* weight, int dim, float eps,
                             uint16_t* out) {
  wait_for_previous();
  let_next_start();
  const int64_t begin = int64_t{blockIdx.x} * dim;
  norm_vector<Whole>(device::Compute::bf16, x + begin, weight, dim, eps, out + begin);
}

// product [rows, cols] bf16, row stride ld (gate: [rows, 2 cols]) -> y [rows, cols].
template <Finish F, bool Whole>
__global__ void finish(const uint16_t* product, int64_t ld, int64_t rows, int64_t cols, float* y) {
  constexpr auto bf16 = device::Compute::bf16;
  wait_for_previous();
  let_next_start();
  for_quads(rows, cols, [&](int64_t row, int64_t column, int64_t left) {
    const uint16_t* from = product + row * ld + column;
    float* to = y + row * cols + column;
    float value[4];
    load_quad<Whole>(from, left, value);
    if constexpr (F == Finish::residual) {
      float sum[4];
      load_quad<Whole>(to, left, sum);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] += sum[i];
      round_quad(bf16, value);
    } else if constexpr (F == Finish::gate) {
      float up[4];
      load_quad<Whole>(from + cols, left, up);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = silu(value[i]);
      round_quad(bf16, value);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] *= up[i];
      round_quad(bf16, value);
    }
    store_quad<Whole>(to, left, value);
  });
}

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

// All linears side by side, before the finish. Rows are padded to whole vectors of cuBLAS.
struct Products {
  int64_t out = 0, ld = 0;
  Buffer own;
  uint16_t* data = nullptr;

  explicit Products(const LinearsArgs& args) {
    for (const LinearPart& part : args.parts) out += part.weight->rows;
    ld = tiles(out, 8) * 8;
    // What the caller lends in fp32 holds bf16 with all but the narrowest padding.
    const bool lent = args.finish != Finish::none && ld <= 2 * out;
    if (!lent) own = scratch(args.rows * ld * 2);
    data = lent ? reinterpret_cast<uint16_t*>(args.product) : own.as<uint16_t>();
  }
};

// x, normed where there is a norm, as bf16.
void make_operand(const device::Context& context, const LinearsArgs& args, int64_t in,
                  uint16_t* out) {
  if (args.norm_weight == nullptr) {
    to_bf16(context, args.x, in, args.rows, in, out);
    return;
  }
  const bool whole =
      takes_quads(args.x, in) && takes_quads(args.norm_weight, in) && takes_quads(out, in);
  launch(context, whole ? norm_to_bf16<true> : norm_to_bf16<false>,
         {blocks_for(args.rows, 1), norm_threads(in)}, args.x, args.norm_weight, in,
         static_cast<float>(args.norm_eps), out);
}

// What the products take.
struct Input {
  Buffer operand;        // [rows, in] bf16: values or levels
  Buffer codes, scales;  // of levels: E4M3 [rows, in] where all products take it; [rows]
  Levels levels;

  Input(const device::Context& context, const LinearsArgs& args, const Products& products) {
    const int64_t in = args.parts.front().weight->cols;
    operand = scratch(args.rows * in * 2);
    make_operand(context, args, in, operand.as<uint16_t>());
    levels = levels_of(args.activations);
    if (!levels.on) return;
    scales = scratch(args.rows * 4);
    const bool fp8 = levels.e4m3 && std::ranges::all_of(args.parts, [&](const LinearPart& part) {
                       return takes_fp8(context, part, args.rows, products.ld);
                     });
    if (fp8) codes = scratch(args.rows * in);
    const auto make = [&](auto* out) {
      levels_of_rows(context, levels, operand.as<uint16_t>(), args.rows, in, out,
                     scales.as<float>());
    };
    if (fp8) make(codes.as<uint8_t>());
    if (!fp8) make(operand.as<uint16_t>());
  }
  bool fp8() const { return codes.size() > 0; }
};

// Biases and scales of rows are put on the fp32 sums, before they are rounded.
void multiply_part(const device::Context& context, const LinearPart& part, int64_t rows,
                   const Input& input, uint16_t* out, int64_t ld) {
  if (input.fp8()) {
    multiply_fp8(context, part, input.codes.as<uint8_t>(), input.scales.as<float>(), rows, out, ld);
    return;
  }
  const int64_t width = part.weight->rows;
  const bool plain = part.bias == nullptr && !input.levels.on;
  Buffer sums = scratch(plain ? 0 : rows * width * 4);
  Product product;
  product.a = input.operand.data();
  product.lda = part.weight->cols;
  product.rows = rows;
  product.result = plain ? Operand::bf16 : Operand::fp32;
  product.c = plain ? static_cast<void*>(out) : sums.data();
  product.ldc = plain ? ld : width;
  multiply_weight(context, *part.weight, part.calls, product);
  if (plain) return;
  const float* scales = input.levels.on ? input.scales.as<float>() : nullptr;
  sums_to_bf16(context, {sums.as<float>(), width, scales, part.bias}, rows, width, out, ld);
}

template <Finish F>
void finish_as(const device::Context& context, const Products& products, const LinearsArgs& args) {
  const int64_t cols = F == Finish::gate ? products.out / 2 : products.out;
  const bool whole = takes_quads(products.data, products.ld) && takes_quads(args.y, cols);
  launch(context, whole ? finish<F, true> : finish<F, false>, quad_grid(args.rows, cols),
         products.data, products.ld, args.rows, cols, args.y);
}

}  // namespace

bool many_rows_linears(const device::Context& context, const LinearsArgs& args) {
  if (context.compute != device::Compute::bf16 || args.rows <= gemv_rows) return false;
  const Products products(args);
  const Input input(context, args, products);
  int64_t column = 0;
  for (const LinearPart& part : args.parts) {
    multiply_part(context, part, args.rows, input, products.data + column, products.ld);
    if (input.levels.on) {
      count_activations(context, "levels", args.activations.format, part.calls);
    }
    column += part.weight->rows;
  }
  if (args.finish == Finish::none) finish_as<Finish::none>(context, products, args);
  if (args.finish == Finish::residual) finish_as<Finish::residual>(context, products, args);
  if (args.finish == Finish::gate) finish_as<Finish::gate>(context, products, args);
  return true;
}

}  // namespace qsweep::kernels::cuda
