// Activation formats on the GPU: the op has the host's bits, and every way of linears() multiplies
// the same rounded values.
#include "kernels/activations/activations.hpp"

#include <gtest/gtest.h>

#include <set>

#include "gpu/on_gpu.hpp"
#include "kernels/linear/linears.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep {
namespace {

using device::Compute;
using quant::ActivationId;
using quant::ActivationRounding;
using quant::ActivationScale;
using quant::FormatId;
using quant::FormatSpec;
using quant::PackedMatrix;
using quant::ScaleCodecId;
using test::OnGpu;
using test::packed;
using test::random_values;

const ActivationRounding roundings[] = {
    {{ActivationId::fp8_e4m3, ActivationScale::token}},
    {{ActivationId::fp8_e4m3, ActivationScale::tensor}, 2.5f},  // some saturate
    {{ActivationId::int8, ActivationScale::token}},
    {{ActivationId::int4, ActivationScale::token}},
    {{ActivationId::int4, ActivationScale::tensor}, 1.5f}};

std::vector<float> on_host(const ActivationRounding& rounding, const std::vector<float>& x,
                           int64_t rows) {
  std::vector<float> y(x.size());
  const auto cols = static_cast<int64_t>(x.size()) / rows;
  kernels::round_activations({}, {rounding, x.data(), cols, rows, cols, y.data(), cols});
  return y;
}

TEST(ActivationsGpu, OpHasTheHostsBits) {
  QSWEEP_NEEDS_GPU();
  for (const ActivationRounding& rounding : roundings) {
    for (const int64_t cols : {1, 63, 1000, 3072}) {
      auto x = random_values(3 * cols, 21);
      for (int64_t i = 0; i < cols; ++i) x[static_cast<size_t>(cols + i)] = 0;  // a row of zeros
      OnGpu<float> gpu(x);
      kernels::round_activations(test::gpu_context(),
                                 {rounding, gpu.data(), cols, 3, cols, gpu.data(), cols});
      EXPECT_EQ(gpu.back(), on_host(rounding, x, 3)) << quant::to_string(rounding.format);
    }
  }
  std::vector<float> x = random_values(100, 5);
  OnGpu<float> gpu(x);
  const ActivationRounding bf16{{ActivationId::bf16}};
  kernels::round_activations(test::gpu_context(), {bf16, gpu.data(), 50, 2, 50, gpu.data(), 50});
  EXPECT_EQ(gpu.back(), test::rounded_to_bf16(x));
}

struct Call {
  PackedMatrix w, on_gpu;
  int64_t rows;
  ActivationRounding rounding;
  Compute compute;
  std::vector<float> x, bias;
  device::KernelCalls calls, layer;

  Call(const FormatSpec& spec, int64_t out, int64_t in, int64_t r, const ActivationRounding& a,
       Compute c)
      : w(packed(spec, out, in)),
        on_gpu(test::copy_on_gpu(w)),
        rows(r),
        rounding(a),
        compute(c),
        x(test::rounded_to_bf16(random_values(r * in, 3))),
        bias(random_values(out, 13)) {}

  std::vector<float> run(const std::vector<float>& input, const std::vector<float>* norm) {
    OnGpu<float> gx(input), gbias(bias), scratch(std::vector<float>(x.size(), -77.0f));
    OnGpu<float> gnorm(norm != nullptr ? *norm : bias);
    OnGpu<float> y(std::vector<float>(static_cast<size_t>(rows * w.rows), -77.0f));
    const kernels::LinearPart part{&on_gpu, gbias.data(), &layer};
    device::Context context = test::gpu_context(compute);
    context.calls = &calls;
    kernels::LinearsArgs args{};
    args.parts = {&part, 1};
    args.x = gx.data();
    args.rows = rows;
    args.norm_weight = norm != nullptr ? gnorm.data() : nullptr;
    args.norm_eps = 1e-5;
    args.activations = rounding;
    args.y = y.data();
    args.normed = scratch.data();
    kernels::linears(context, args);
    return y.back();
  }

  // How the linear was done; both ledgers must name the rounding beside it, as often.
  std::string strategy() const {
    std::string linear;
    uint64_t linears = 0, rounded = 0;
    EXPECT_EQ(calls.calls(), layer.calls());
    for (const auto& [kernel, count] : layer.calls()) {
      if (kernel.starts_with("linear/")) {
        linear = kernel.substr(7, kernel.find('/', 7) - 7);
        linears += count;
      } else if (kernel.starts_with("activations/")) {
        EXPECT_TRUE(kernel.ends_with("/" + quant::to_string(rounding.format))) << kernel;
        rounded += count;
      }
    }
    EXPECT_EQ(linears, rounded);
    return linear;
  }

  // sum_i |W[o, i] steps[r, i]| for element `at` of y.
  double product_of_magnitudes(const std::vector<float>& steps, size_t at) const {
    const auto cols = static_cast<size_t>(w.cols), out = static_cast<size_t>(w.rows);
    std::vector<float> weights(cols);
    quant::dequantize_rows(w, static_cast<int64_t>(at % out), 1, weights.data());
    double sum = 0;
    for (size_t i = 0; i < cols; ++i) {
      sum += std::fabs(double{weights[i]} * steps[at / out * cols + i]);
    }
    return sum;
  }

  // The bounds of linear_cuda.cuh on the rounded input, and one rounding for the scale of a row.
  void check(const std::vector<float>& got, test::Allowance& allowed) const {
    const std::vector<float> input = on_host(rounding, x, rows);
    std::vector<float> weights(static_cast<size_t>(w.rows * w.cols));
    quant::dequantize_rows(w, 0, w.rows, weights.data());
    std::vector<float> expected(got.size());
    kernels::ref::linear(
        {&w, bias.data(), input.data(), w.cols, rows, expected.data(), w.rows, nullptr});
    const std::string way = strategy();
    double relative = (static_cast<double>(w.cols) + 66) * 0x1p-23;
    if (compute == Compute::bf16 && way == "dequantize_cublas") relative += 0x1p-8;
    if (w.spec.id == FormatId::nf4) relative += 0x1p-12;
    const double cols = static_cast<double>(w.cols);
    const double lost = way == "cublas_fp8" ? 0x1p-13 : 0;  // in sums of E4M3 products
    relative += lost * cols / 32;
    for (size_t at = 0; at < got.size(); ++at) {
      const size_t row = at / static_cast<size_t>(w.rows), out = at % static_cast<size_t>(w.rows);
      double magnitude = std::fabs(bias[out]), inputs = 0, largest = 0, product = 0;
      for (size_t i = 0; i < static_cast<size_t>(w.cols); ++i) {
        const double weight = std::fabs(weights[out * static_cast<size_t>(w.cols) + i]);
        const double value = std::fabs(input[row * static_cast<size_t>(w.cols) + i]);
        magnitude += weight * value;
        product = std::max(product, weight * value);
        inputs += value;
        largest = std::max(largest, weight);
      }
      // int4's offset, as in linear_case.hpp.
      if (w.spec.id == FormatId::int4 && way == "stream") magnitude += 2 * largest * inputs;
      const double rounding_of_y =
          compute == Compute::bf16 ? test::bf16_half_ulp * std::fabs(expected[at]) : 0;
      const double error = relative * magnitude + lost * cols * product;
      allowed.check(got[at], expected[at], error + rounding_of_y * (1 + relative),
                    way + " at " + std::to_string(at));
    }
  }
};

TEST(ActivationsGpu, EveryWayMultipliesTheSameLevels) {
  QSWEEP_NEEDS_GPU();
  const FormatSpec specs[] = {{FormatId::fp8_e4m3, quant::per_channel},
                              {FormatId::fp8_e4m3, quant::per_tensor, true, {ScaleCodecId::bf16}},
                              {FormatId::fp8_e4m3, 64},
                              {FormatId::int8, quant::per_channel},
                              {FormatId::int4, 128, false, {ScaleCodecId::e5m, 5}},
                              {FormatId::int4, 32},
                              {FormatId::nf4, 64, true, {ScaleCodecId::dq8}}};
  std::set<std::string> ways;
  for (const FormatSpec& spec : specs) {
    for (const ActivationRounding& rounding : roundings) {
      test::Allowance allowed(quant::to_string(spec) + " " + quant::to_string(rounding.format));
      for (const int64_t rows : {1, 5, 12, 40, 130}) {
        for (const Compute compute : {Compute::bf16, Compute::fp32}) {
          Call call(spec, 96, 256, rows, rounding, compute);
          call.check(call.run(call.x, nullptr), allowed);
          ways.insert(call.strategy());
        }
      }
    }
  }
  for (const char* way : {"stream", "tiles", "cublas_fp8", "dequantize_cublas", "gemv"}) {
    EXPECT_TRUE(ways.contains(way)) << way;
  }
}

// Results of the second and third begin 96 and 128 bytes behind the first: each linear beside
// others gives the bits that it gives alone.
TEST(ActivationsGpu, LinearsStandSideBySide) {
  QSWEEP_NEEDS_GPU();
  const FormatSpec spec{FormatId::fp8_e4m3};
  std::vector<PackedMatrix> weights;
  std::vector<kernels::LinearPart> parts;
  for (const int64_t out : {48, 16, 32})
    weights.push_back(test::copy_on_gpu(packed(spec, out, 256)));
  for (const PackedMatrix& w : weights) parts.push_back({&w, nullptr, nullptr});
  OnGpu<float> x(test::rounded_to_bf16(random_values(40 * 256, 3))), scratch(x.back());
  const auto run = [&](std::span<const kernels::LinearPart> some, int64_t out) {
    OnGpu<float> y(std::vector<float>(static_cast<size_t>(40 * out), -77.0f));
    kernels::LinearsArgs args{};
    args.parts = some;
    args.x = x.data();
    args.rows = 40;
    args.activations = roundings[0];
    args.y = y.data();
    args.normed = scratch.data();
    kernels::linears(test::gpu_context(Compute::bf16), args);
    return y.back();
  };
  const std::vector<float> together = run(parts, 96);
  size_t column = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto width = static_cast<size_t>(weights[i].rows);
    const std::vector<float> alone = run({&parts[i], 1}, weights[i].rows);
    for (size_t at = 0; at < alone.size(); ++at) {
      EXPECT_EQ(together[at / width * 96 + column + at % width], alone[at]) << i << " at " << at;
    }
    column += width;
  }
}

// Rows that a block keeps in registers, and longer ones; columns that no vector takes.
TEST(ActivationsGpu, TakeAnyLength) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("lengths");
  for (const int64_t in : {100, 3072, 9216}) {
    for (const int64_t rows : {1, 3, 9}) {
      Call call({FormatId::fp8_e4m3}, 32, in, rows, roundings[0], Compute::bf16);
      call.check(call.run(call.x, nullptr), allowed);
    }
  }
}

// From a level to the next: E4M3 has eight of them in a power of two, integers range of them in the
// row's largest value.
std::vector<float> level_steps(ActivationId id, const std::vector<float>& x, int64_t rows) {
  const size_t cols = x.size() / static_cast<size_t>(rows);
  std::vector<float> steps(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const auto row = x.begin() + static_cast<int64_t>(i / cols * cols);
    const auto larger = [](float a, float b) { return std::fabs(a) < std::fabs(b); };
    const float largest =
        std::fabs(*std::max_element(row, row + static_cast<int64_t>(cols), larger));
    steps[i] = id == ActivationId::fp8_e4m3 ? std::max(std::fabs(x[i]) / 8, largest * 0x1p-18f)
                                            : largest / (id == ActivationId::int8 ? 127 : 7);
  }
  return steps;
}

// The norm comes before the rounding: a normed input, and the same input normed by hand.
TEST(ActivationsGpu, RoundWhatTheNormGives) {
  QSWEEP_NEEDS_GPU();
  for (const ActivationRounding& rounding : roundings) {
    for (const int64_t rows : {1, 3, 12, 40}) {
      for (const FormatSpec& spec :
           {FormatSpec{FormatId::fp8_e4m3}, FormatSpec{FormatId::int4, 128}}) {
        Call call(spec, 64, 512, rows, rounding, Compute::bf16);
        const std::vector<float> norm = test::rounded_to_bf16(random_values(512, 4));
        const std::vector<float> got = call.run(call.x, &norm);
        OnGpu<float> gx(call.x), gnorm(norm);
        kernels::rmsnorm(test::gpu_context(Compute::bf16),
                         {gx.data(), 512, gnorm.data(), 1e-5, rows, 1, 512, gx.data(), 512});
        const std::vector<float> expected = call.run(gx.back(), nullptr);
        // linear/stream sums squares in an order of its own: a normed value may be the next bf16
        // number, and its level the next one.
        const std::vector<float> input = on_host(rounding, gx.back(), rows);
        const std::vector<float> steps = level_steps(rounding.format.id, input, rows);
        double differences = 0;
        for (size_t i = 0; i < got.size(); ++i) {
          differences += got[i] == expected[i] ? 0 : 1;
          const double bound = call.product_of_magnitudes(steps, i) +
                               2 * test::bf16_half_ulp * std::fabs(expected[i]);
          EXPECT_LE(std::fabs(double{got[i]} - expected[i]), bound) << i;
        }
        if (call.strategy() != "stream") {
          EXPECT_EQ(differences, 0) << call.strategy();
        }
      }
    }
  }
}

}  // namespace
}  // namespace qsweep
