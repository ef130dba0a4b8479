#include <cmath>

#include "kernels/activations/activations.hpp"

namespace qsweep::kernels::ref {
namespace {

using quant::ActivationId;
using quant::ActivationScale;

double rounded_value(ActivationId id, double x, double scale) {
  if (id == ActivationId::fp8_e4m3) {
    return scale * fp8_e4m3_to_float(float_to_fp8_e4m3(static_cast<float>(x / scale)));
  }
  const double highest = id == ActivationId::int8 ? 127 : 7;
  const double lowest = id == ActivationId::int8 ? -127 : -8;
  return scale * std::nearbyint(std::fmin(std::fmax(x / scale, lowest), highest));
}

double range_of(ActivationId id) {
  if (id == ActivationId::fp8_e4m3) return 448;
  return id == ActivationId::int8 ? 127 : 7;
}

}  // namespace

void round_activations(const RoundActivationsArgs& args) {
  const quant::ActivationFormat& format = args.rounding.format;
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.ldx;
    float* y = args.y + r * args.ldy;
    double absmax = format.scale == ActivationScale::tensor ? double{args.rounding.absmax} : 0;
    for (int64_t i = 0; i < args.cols && format.scale == ActivationScale::token; ++i) {
      absmax = std::fmax(absmax, std::fabs(x[i]));
    }
    for (int64_t i = 0; i < args.cols; ++i) {
      if (format.id == ActivationId::bf16) {
        y[i] = bf16_to_float(float_to_bf16(x[i]));
      } else {
        const double scale = std::fmax(absmax, 1e-8) / range_of(format.id);
        y[i] = static_cast<float>(rounded_value(format.id, x[i], scale));
      }
    }
  }
}

}  // namespace qsweep::kernels::ref
