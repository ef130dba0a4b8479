#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "kernels/logits/logits.hpp"

namespace qsweep::kernels {

int32_t argmax(std::span<const float> x) {
  int32_t best = 0;
  float largest = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] > largest) {
      largest = x[i];
      best = static_cast<int32_t>(i);
    }
  }
  return best;
}

void log_softmax(std::span<const float> x, std::span<float> y) {
  expect(x.size() == y.size() && !x.empty(), "log_softmax writes as many values as it reads");
  const double largest = x[static_cast<size_t>(argmax(x))];
  double sum = 0;
  for (const float value : x) sum += std::exp(value - largest);
  const double offset = largest + std::log(sum);
  for (size_t i = 0; i < x.size(); ++i) y[i] = static_cast<float>(x[i] - offset);
}

}  // namespace qsweep::kernels
