// What is read off one row of logits [n].
//   argmax       index of the largest value, the first of equals; NaN is never chosen (0 if all are
//   NaN) log_softmax  y[v] = x[v] - m - log(sum exp(x - m)), m = max x; double accumulation
// Bytes: 4 n and 8 n. |error| of log_softmax <= 2^-24 (|y| + |x|) from the final rounding.
#pragma once

#include <cstdint>
#include <span>

namespace qsweep::kernels {

int32_t argmax(std::span<const float> x);
void log_softmax(std::span<const float> x, std::span<float> y);

}  // namespace qsweep::kernels
