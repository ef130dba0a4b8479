// One linear on the GPU beside the plain reference, with the bounds of linear_cuda.cuh.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpu/on_gpu.hpp"
#include "kernels/linear/linear.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep::test {

inline bool ends_with_strategy(const device::KernelCalls& calls, const std::string& strategy) {
  return calls.calls().size() == 1 &&
         calls.calls().begin()->first.starts_with("linear/" + strategy + "/");
}

struct LinearCase {
  const quant::PackedMatrix& w;
  int64_t rows;
  device::Compute compute;
  std::vector<float> x, bias;
  std::vector<float> weights, expected;
  device::KernelCalls calls;

  LinearCase(const quant::PackedMatrix& weight, int64_t row_count, device::Compute c)
      : w(weight),
        rows(row_count),
        compute(c),
        x(random_values(row_count * weight.cols, 11)),
        bias(random_values(weight.rows, 13)),
        weights(static_cast<size_t>(weight.rows * weight.cols)),
        expected(static_cast<size_t>(row_count * weight.rows)) {
    if (compute == device::Compute::bf16) x = rounded_to_bf16(x);
    quant::dequantize_rows(w, 0, w.rows, weights.data());
    kernels::ref::linear(
        {&w, bias.data(), x.data(), w.cols, rows, expected.data(), w.rows, nullptr});
  }

  std::vector<float> on_gpu() {
    const quant::PackedMatrix weight = copy_on_gpu(w);
    OnGpu<float> gpu_x(x), gpu_bias(bias);
    OnGpu<float> y(std::vector<float>(expected.size(), -77.0f));
    device::Context context = gpu_context(compute);
    context.calls = &calls;
    kernels::linear(
        context, {&weight, gpu_bias.data(), gpu_x.data(), w.cols, rows, y.data(), w.rows, nullptr});
    return y.back();
  }

  // The bounds of linear_cuda.cuh, and the rounding of the result.
  double allowance(size_t at) const {
    const auto row = static_cast<int64_t>(at) / w.rows, out = static_cast<int64_t>(at) % w.rows;
    double magnitude = std::fabs(bias[static_cast<size_t>(out)]), inputs = 0, largest = 0;
    double all_weights = 0, largest_input = 0;
    for (int64_t i = 0; i < w.cols; ++i) {
      const double weight = std::fabs(weights[static_cast<size_t>(out * w.cols + i)]);
      const double input = std::fabs(x[static_cast<size_t>(row * w.cols + i)]);
      magnitude += weight * input;
      inputs += input;
      largest = std::max(largest, weight);
      all_weights += weight;
      largest_input = std::max(largest_input, input);
    }
    // The offset of int4's codes, 8 scales or a zero point, is below twice the largest weight.
    if (w.spec.id == quant::FormatId::int4 && ends_with_strategy(calls, "stream")) {
      magnitude += 2 * largest * inputs;
    }
    double relative = (static_cast<double>(w.cols) + 64) * 0x1p-23;
    const bool decoded = ends_with_strategy(calls, "dequantize_cublas");
    if (compute == device::Compute::bf16 && decoded) relative += 0x1p-8;
    if (w.spec.id == quant::FormatId::nf4) relative += 0x1p-12;
    const double rounding =
        compute == device::Compute::bf16 ? bf16_half_ulp * std::fabs(expected[at]) : 0;
    // Beside integer codes the row is a fixed-point number there.
    const bool integers = w.spec.id == quant::FormatId::int4 || w.spec.id == quant::FormatId::int8;
    const bool fixed = integers && ends_with_strategy(calls, "stream_one");
    const double steps = fixed ? 0x1p-30 * (1 + 0x1p-7) * largest_input * all_weights : 0;
    return relative * magnitude + steps + rounding * (1 + relative);
  }
};

inline void compare(const quant::PackedMatrix& w, int64_t rows, device::Compute compute,
                    Allowance& allowed, const std::string& strategy) {
  LinearCase c(w, rows, compute);
  const std::vector<float> got = c.on_gpu();
  if (!strategy.empty()) {
    EXPECT_TRUE(ends_with_strategy(c.calls, strategy))
        << quant::to_string(w.spec) << ": " << c.calls.calls().begin()->first;
  }
  for (size_t at = 0; at < got.size(); ++at) {
    allowed.check(
        got[at], c.expected[at], c.allowance(at),
        std::to_string(w.rows) + "x" + std::to_string(w.cols) + " at " + std::to_string(at));
  }
}

// Whether one row has the kernel of its own: whole pairs of 64 bytes of codes a row, groups of
// whole 64 bytes.
inline bool takes_one_row(const quant::PackedMatrix& w) {
  const quant::FormatSpec& spec = w.spec;
  const int64_t slab = 512 / quant::code_bits(spec.id);
  const bool grouped = spec.group > 0 && spec.group < w.cols;
  if (spec.id == quant::FormatId::nf4 || !spec.symmetric || w.cols > 8192) return false;
  if (quant::has_scales(spec.id) && spec.scale.id == quant::ScaleCodecId::dq8) return false;
  return w.cols % (2 * slab) == 0 &&
         (!grouped || (spec.group % slab == 0 && w.cols % spec.group == 0));
}

// nf4's groups run on from row to row; ways that keep to rows want whole ones.
inline bool whole_groups(const quant::PackedMatrix& w) {
  const bool grouped = w.spec.group > 0 && w.spec.group < w.cols;
  return w.spec.id != quant::FormatId::nf4 || (grouped && w.cols % w.spec.group == 0);
}

// Whether 5 to 128 rows have the kernel of 4-bit codes: whole lanes' words of them.
inline bool takes_tiles(const quant::PackedMatrix& w) {
  const bool grouped = w.spec.group > 0 && w.spec.group < w.cols;
  return quant::code_bits(w.spec.id) == 4 && w.cols % 64 == 0 &&
         (!grouped || w.spec.group % 64 == 0) && whole_groups(w);
}

// The way that is to take w with bf16 activations, where nothing is in the way of linear/stream:
// its vectors, or room for its input.
inline std::string strategy_of(const quant::PackedMatrix& w, int64_t rows) {
  const bool scaled = quant::has_scales(w.spec.id);
  if (rows == 1 && takes_one_row(w)) return "stream_one";
  if (rows >= 5 && rows <= 128 && takes_tiles(w)) return "tiles";
  if (!whole_groups(w)) return rows <= 8 ? "gemv" : "dequantize_cublas";
  if (rows <= (scaled ? 16 : 8)) return "stream";
  return w.spec.id == quant::FormatId::bf16 ? "cublas" : "dequantize_cublas";
}

}  // namespace qsweep::test
