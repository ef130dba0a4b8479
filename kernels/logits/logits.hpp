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

// What a recorded decode step leaves beside its choice, where that is wanted.
struct StepEnd {
  int32_t* position = nullptr;  // [1] goes up by one: the token's place for the next replay
  int32_t* choices = nullptr;   // [2] row 0's choice, at what `position` was modulo 2
};

// out[r] = argmax of row r of x [rows, cols]; all in the context's place, except that `choices` may
// be host memory that the GPU reaches.
void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, const StepEnd& end = {});
namespace cuda {
void argmax_rows(const device::Context& context, const float* x, int64_t rows, int64_t cols,
                 int32_t* out, const StepEnd& end);
}

}  // namespace qsweep::kernels
