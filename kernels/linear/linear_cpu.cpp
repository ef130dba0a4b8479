#include <algorithm>

#include "kernels/common.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/linear/strategies.hpp"

namespace qsweep::kernels {

std::string linear_kernel_name(const std::string& strategy, const quant::FormatSpec& spec) {
  std::string format = quant::to_string(spec);
  std::replace(format.begin(), format.end(), ' ', '_');
  return "linear/" + strategy + "/" + format;
}

std::string linear_kernel_name(const quant::FormatSpec& spec, int64_t rows) {
  return linear_kernel_name(rows <= gemv_max_rows ? "gemv" : "gemm_tile", spec);
}

void linear(const device::Context& context, const LinearArgs& args) {
  if (on_gpu(context)) return cuda::linear(context, args);
  if (args.rows == 0) return;
  if (args.rows <= gemv_max_rows) {
    gemv_packed_rows(context, args);
  } else {
    gemm_dequantized_tiles(context, args);
  }
}

void finish_outputs(const device::Context& context, const LinearArgs& args, int64_t begin,
                    int64_t end) {
  if (args.bias == nullptr && context.compute == device::Compute::fp32) return;
  for (int64_t r = 0; r < args.rows; ++r) {
    float* y = args.y + r * args.ldy;
    for (int64_t o = begin; o < end; ++o) {
      const float biased = args.bias == nullptr ? y[o] : y[o] + args.bias[o];
      y[o] = stored(context.compute, biased);
    }
  }
}

void count_linear(const device::Context& context, const LinearArgs& args) {
  const std::string kernel = linear_kernel_name(args.weight->spec, args.rows);
  count(context, kernel);
  if (args.calls != nullptr) args.calls->count(kernel);
}

}  // namespace qsweep::kernels
