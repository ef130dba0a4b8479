#include <bit>

#include "kernels/activations/activations.hpp"
#include "kernels/common.hpp"

namespace qsweep::kernels {
namespace {

using quant::ActivationId;
using quant::ActivationRounding;
using quant::ActivationScale;

// Of a row; NaN and infinity count as the largest of all (see magnitude_bits()).
float absmax_of(const float* x, int64_t cols) {
  uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < cols; ++i) {
    const uint32_t magnitude = quant::format::magnitude_bits(x[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return std::bit_cast<float>(largest);
}

template <class F>
void round_row(const ActivationRounding& rounding, const float* x, int64_t cols, float* y) {
  const bool token = rounding.format.scale == ActivationScale::token;
  const float scale =
      quant::format::exact_scale(token ? absmax_of(x, cols) : rounding.absmax, F::range);
#pragma omp simd
  for (int64_t i = 0; i < cols; ++i) {
    y[i] = scale * quant::format::activation_level<F>(x[i], scale);
  }
}

}  // namespace

std::string activations_kernel_name(const std::string& where,
                                    const quant::ActivationFormat& format) {
  return "activations/" + where + "/" + quant::to_string(format);
}

void count_activations(const device::Context& context, const std::string& where,
                       const quant::ActivationFormat& format, device::KernelCalls* calls) {
  const std::string kernel = activations_kernel_name(where, format);
  count(context, kernel);
  if (calls != nullptr) calls->count(kernel);
}

void round_activations(const device::Context& context, const RoundActivationsArgs& args) {
  if (on_gpu(context)) return cuda::round_activations(context, args);
  const OpTimer timer(context, "round_activations");
  const ActivationId id = args.rounding.format.id;
  const bool many = args.rows * args.cols >= (1 << 14);
#pragma omp parallel for num_threads(threads_of(context)) if (many) schedule(static)
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.ldx;
    float* y = args.y + r * args.ldy;
    if (quant::has_scales(id)) {
      quant::format::visit_activation(
          id, [&](auto f) { round_row<decltype(f)>(args.rounding, x, args.cols, y); });
    } else {
      for (int64_t i = 0; i < args.cols; ++i) y[i] = rounded(x[i]);
    }
  }
}

}  // namespace qsweep::kernels
