// linear() against its reference for every format, codec and group, at odd sizes, in both
// strategies.
#include "kernels/linear/linear.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "unit/kernels/numbers.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep {
namespace {

using quant::FormatSpec;
using quant::PackedMatrix;
using test::packed;
using test::random_values;

struct Case {
  const PackedMatrix& w;
  int64_t rows;
  std::vector<float> x, bias, y;
  Case(const PackedMatrix& weight, int64_t row_count)
      : w(weight),
        rows(row_count),
        x(random_values(row_count * weight.cols, 11)),
        bias(random_values(weight.rows, 13)),
        y(static_cast<size_t>(row_count * weight.rows), -77.0f) {}
  kernels::LinearArgs args() {
    return {&w, bias.data(), x.data(), w.cols, rows, y.data(), w.rows, nullptr};
  }
};

// Any order of fp32 summation stays within (terms + a few) half-ulps of the sum of magnitudes;
// codes times scale is one rounding more on each side, and the groups' scaling another.
double allowance(const Case& c, const std::vector<float>& weights, int64_t row, int64_t out) {
  double magnitude = std::fabs(c.bias[static_cast<size_t>(out)]);
  for (int64_t i = 0; i < c.w.cols; ++i) {
    magnitude += std::fabs(static_cast<double>(weights[static_cast<size_t>(out * c.w.cols + i)]) *
                           c.x[static_cast<size_t>(row * c.w.cols + i)]);
  }
  return (static_cast<double>(c.w.cols) + 16) * test::half_ulp * magnitude;
}

void compare(const PackedMatrix& w, int64_t rows, test::Allowance& allowed,
             const std::string& where) {
  Case got(w, rows), expected(w, rows);
  kernels::linear({}, got.args());
  kernels::ref::linear(expected.args());
  std::vector<float> weights(static_cast<size_t>(w.rows * w.cols));
  quant::dequantize_rows(w, 0, w.rows, weights.data());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < w.rows; ++o) {
      const auto at = static_cast<size_t>(r * w.rows + o);
      allowed.check(got.y[at], expected.y[at], allowance(got, weights, r, o), where);
    }
  }
}

TEST(Linear, MatchesReferenceForEveryFormat) {
  std::map<quant::FormatId, int> compared;
  for (const FormatSpec& spec : test::all_specs()) {
    test::Allowance allowed(quant::to_string(spec));
    int here = 0;
    for (const auto& [out, in] :
         {std::pair<int64_t, int64_t>{1, 64}, {33, 37}, {19, 129}, {5, 448}, {70, 256}}) {
      if (!quant::shape_problem(spec, out, in).empty()) continue;
      const PackedMatrix w = packed(spec, out, in);
      for (const int64_t rows : {1, 3, 9}) {
        compare(w, rows, allowed, std::to_string(out) + "x" + std::to_string(in));
      }
      ++here;
    }
    if (here == 0) allowed.check(0, 0, 1, "a combination the format refuses");
    compared[spec.id] += here;
  }
  for (const auto& [id, name] : enum_names<quant::FormatId>) EXPECT_GT(compared[id], 0) << name;
}

TEST(Linear, BitsDoNotDependOnThreads) {
  for (const FormatSpec& spec :
       {FormatSpec{quant::FormatId::bf16}, FormatSpec{quant::FormatId::int4, 128}}) {
    const PackedMatrix w = packed(spec, 517, 384);
    for (const int64_t rows : {int64_t{1}, int64_t{40}, int64_t{1100}}) {  // 1100: two x blocks
      Case one(w, rows);
      kernels::linear({}, one.args());
      for (const int threads : {2, 3, 7}) {
        Case many(w, rows);
        kernels::linear({.threads = threads}, many.args());
        EXPECT_EQ(0, std::memcmp(one.y.data(), many.y.data(), one.y.size() * sizeof(float)))
            << quant::to_string(spec) << ", " << rows << " rows, " << threads << " threads";
      }
    }
  }
}

TEST(Linear, WritesOnlyItsColumns) {
  const PackedMatrix w = packed({quant::FormatId::bf16}, 4, 32);
  for (const int64_t rows : {int64_t{2}, int64_t{6}}) {
    Case wide(w, rows), narrow(w, rows);
    wide.y.assign(static_cast<size_t>(rows * 9), -77.0f);
    kernels::LinearArgs args = wide.args();
    args.y = wide.y.data() + 3;
    args.ldy = 9;
    kernels::linear({}, args);
    kernels::linear({}, narrow.args());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < 9; ++c) {
        const float expected =
            c >= 3 && c < 7 ? narrow.y[static_cast<size_t>(r * 4 + c - 3)] : -77.0f;
        EXPECT_EQ(wide.y[static_cast<size_t>(r * 9 + c)], expected) << r << "," << c;
      }
    }
  }
}

TEST(Linear, CountsTheFormatItDispatchedOn) {
  device::KernelCalls all, mine;
  const device::Context context{.calls = &all};
  const PackedMatrix w =
      packed({quant::FormatId::int4, 128, true, {quant::ScaleCodecId::e5m, 5}}, 8, 128);
  for (const int64_t rows : {1, 4, 5}) {
    Case c(w, rows);
    kernels::LinearArgs args = c.args();
    args.calls = &mine;
    kernels::linear(context, args);
  }
  const std::map<std::string, uint64_t, std::less<>> expected = {
      {"linear/gemv/int4_g128_e5m5", 2}, {"linear/gemm_tile/int4_g128_e5m5", 1}};
  EXPECT_EQ(all.calls(), expected);
  EXPECT_EQ(mine.calls(), expected);
}

TEST(Linear, RoundsToBf16AfterTheBias) {
  const PackedMatrix w = packed({quant::FormatId::bf16}, 16, 64);
  for (const int64_t rows : {int64_t{1}, int64_t{8}}) {
    Case exact(w, rows), rounded(w, rows);
    kernels::linear({}, exact.args());
    kernels::linear({.compute = device::Compute::bf16}, rounded.args());
    for (size_t i = 0; i < exact.y.size(); ++i) {
      EXPECT_EQ(rounded.y[i], bf16_to_float(float_to_bf16(exact.y[i])));
    }
  }
}

TEST(Linear, RefusesTheGpuByName) {
  const PackedMatrix w = packed({quant::FormatId::bf16}, 2, 8);
  Case c(w, 1);
  try {
    kernels::linear({.backend = device::Backend::cuda}, c.args());
    FAIL() << "no CUDA kernel, yet no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_NE(std::string(error.what()).find("linear"), std::string::npos);
  }
}

}  // namespace
}  // namespace qsweep
