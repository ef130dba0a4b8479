#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/common.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/linear/strategies.hpp"

namespace qsweep::kernels {

std::string linear_kernel_name(const std::string& strategy, const quant::FormatSpec& spec) {
  std::string name = "linear/" + strategy + "/" + quant::to_string(spec);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

std::string linear_kernel_name(const quant::FormatSpec& spec, int64_t rows) {
  return linear_kernel_name(rows <= gemv_max_rows ? "gemv" : "gemm_tile", spec);
}

void linear(const device::Context& context, const LinearArgs& args) {
  if (on_gpu(context)) return cuda::linear(context, args);
  const OpTimer timer(context, "linear");
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

namespace {

// A model has a handful of formats and a name takes half a microsecond to put together: each thread
// keeps those it has used.
const std::string& known_kernel_name(const quant::FormatSpec& spec, bool gemv) {
  struct Known {
    quant::FormatSpec spec;
    bool gemv;
    std::string name;
  };
  thread_local std::vector<std::unique_ptr<const Known>> names;
  for (const auto& known : names) {
    if (known->gemv == gemv && known->spec == spec) return known->name;
  }
  names.push_back(std::make_unique<const Known>(
      Known{spec, gemv, linear_kernel_name(spec, gemv ? 1 : gemv_max_rows + 1)}));
  return names.back()->name;
}

}  // namespace

void count_linear(const device::Context& context, const LinearArgs& args) {
  const std::string& kernel = known_kernel_name(args.weight->spec, args.rows <= gemv_max_rows);
  count(context, kernel);
  if (args.calls != nullptr) args.calls->count(kernel);
}

}  // namespace qsweep::kernels
