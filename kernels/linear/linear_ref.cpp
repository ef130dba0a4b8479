#include <vector>

#include "kernels/linear/linear.hpp"

namespace qsweep::kernels::ref {

void linear(const LinearArgs& args) {
  const quant::PackedMatrix& weight = *args.weight;
  std::vector<float> w(static_cast<size_t>(weight.cols));
  for (int64_t o = 0; o < weight.rows; ++o) {
    quant::dequantize_rows(weight, o, 1, w.data());
    for (int64_t r = 0; r < args.rows; ++r) {
      double sum = args.bias == nullptr ? 0 : args.bias[o];
      for (int64_t i = 0; i < weight.cols; ++i) {
        sum += static_cast<double>(w[static_cast<size_t>(i)]) * args.x[r * args.ldx + i];
      }
      args.y[r * args.ldy + o] = static_cast<float>(sum);
    }
  }
}

}  // namespace qsweep::kernels::ref
