#include "kernels/linear/linears.hpp"

#include "base/error.hpp"
#include "kernels/activations/activations.hpp"
#include "kernels/common.hpp"
#include "kernels/residual/residual.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels {

void linears(const device::Context& context, const LinearsArgs& args) {
  expect(!args.parts.empty(), "there is a linear to apply");
  if (args.rows == 0) return;
  if (on_gpu(context) && cuda::fused_linears(context, args)) return;
  const int64_t in = args.parts.front().weight->cols;
  const float* x = args.x;
  if (args.norm_weight != nullptr) {
    rmsnorm(context,
            {args.x, in, args.norm_weight, args.norm_eps, args.rows, 1, in, args.normed, in});
    x = args.normed;
  }
  const quant::ActivationFormat& format = args.activations.format;
  if (rounds(context, format)) {
    round_activations(context, {args.activations, x, in, args.rows, in, args.normed, in});
    x = args.normed;
    for (const LinearPart& part : args.parts) {
      count_activations(context, "round", format, part.calls);
    }
  }
  int64_t out = 0;
  for (const LinearPart& part : args.parts) out += part.weight->rows;
  float* product = args.finish == Finish::none ? args.y : args.product;
  int64_t column = 0;
  for (const LinearPart& part : args.parts) {
    linear(context, {part.weight, part.bias, x, in, args.rows, product + column, out, part.calls});
    column += part.weight->rows;
  }
  if (args.finish == Finish::residual) {
    residual_add(context, product, args.y, args.rows * out);
  } else if (args.finish == Finish::gate) {
    silu_mul(context, {product, out, product + out / 2, out, args.rows, out / 2, args.y});
  }
}

}  // namespace qsweep::kernels
