#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "kernels/common.hpp"
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

void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, const StepEnd& end) {
  expect(end.choices == nullptr || end.position != nullptr, "a step's choice has a position");
  if (on_gpu(context)) return cuda::argmax_rows(context, x, rows, cols, out, end);
  count(context, "logits/argmax");
  if (rows == 0) return;
  for (int64_t r = 0; r < rows; ++r) out[r] = argmax({x + r * cols, static_cast<size_t>(cols)});
  if (end.choices != nullptr) end.choices[*end.position % 2] = out[0];
  if (end.position != nullptr) ++*end.position;
}

}  // namespace qsweep::kernels
