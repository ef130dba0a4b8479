// What is read off one row of logits [n].
//   argmax       index of the largest value, the first of equals; NaN is never chosen (0 if all are
//   NaN) log_softmax  y[v] = x[v] - m - log(sum exp(x - m)), m = max x; double accumulation
// Bytes: 4 n and 8 n. |error| of log_softmax <= 2^-24 (|y| + |x|) from the final rounding.
#pragma once

#include <cstdint>
#include <span>

#include "device/context.hpp"

namespace qsweep::kernels {

int32_t argmax(std::span<const float> x);
void log_softmax(std::span<const float> x, std::span<float> y);

// out[r] = argmax of row r of x [rows, cols]; both in the context's place. `position` [1], where it
// is given, goes up by one: the next token's place for the next replay of a recorded step.
void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, int32_t* position = nullptr);
namespace cuda {
void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, int32_t* position);
}

}  // namespace qsweep::kernels
