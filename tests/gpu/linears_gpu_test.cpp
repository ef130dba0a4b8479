// linears() of many rows on the GPU: its parts against the ops one by one, and weights decoded for
// cuBLAS against those decoded one at a time.
#include "kernels/linear/linears.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "gpu/linear_case.hpp"
#include "gpu/on_gpu.hpp"
#include "kernels/embedding/embedding.hpp"
#include "kernels/residual/residual.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/silu_mul/silu_mul.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep {
namespace {

using device::Compute;
using kernels::Finish;
using quant::FormatId;
using quant::FormatSpec;
using quant::PackedMatrix;
using quant::ScaleCodecId;
using test::OnGpu;
using test::packed;
using test::random_values;

// W [out, in] as embedding() decodes it, code by code, rounded to bf16.
std::vector<float> decoded_one_by_one(const PackedMatrix& w) {
  std::vector<int32_t> tokens(static_cast<size_t>(w.rows));
  std::iota(tokens.begin(), tokens.end(), 0);
  OnGpu<int32_t> ids(tokens);
  OnGpu<float> y(std::vector<float>(static_cast<size_t>(w.rows * w.cols), -77.0f));
  kernels::embedding(test::gpu_context(Compute::bf16), {&w, ids.data(), w.rows, y.data()});
  return y.back();
}

// Values of the product with the identity: each sum has one term that is not 0, so it is exact.
std::vector<float> times_identity(const PackedMatrix& w) {
  const int64_t n = w.cols;
  std::vector<float> identity(static_cast<size_t>(n * n), 0.0f);
  for (int64_t i = 0; i < n; ++i) identity[static_cast<size_t>(i * n + i)] = 1.0f;
  OnGpu<float> x(identity), y(std::vector<float>(static_cast<size_t>(n * w.rows), -77.0f));
  kernels::linear(test::gpu_context(Compute::bf16),
                  {&w, nullptr, x.data(), n, n, y.data(), w.rows, nullptr});
  return y.back();
}

void expect_same_bits(const FormatSpec& spec, int64_t out, int64_t in) {
  const PackedMatrix w = test::copy_on_gpu(packed(spec, out, in));
  const std::vector<float> expected = decoded_one_by_one(w), got = times_identity(w);
  int64_t wrong = 0, first = -1;
  for (int64_t r = 0; r < out; ++r) {
    for (int64_t c = 0; c < in; ++c) {
      if (got[static_cast<size_t>(c * out + r)] == expected[static_cast<size_t>(r * in + c)]) {
        continue;
      }
      if (wrong++ == 0) first = r * in + c;
    }
  }
  EXPECT_EQ(wrong, 0) << quant::to_string(spec) << " " << out << "x" << in << ", first " << first;
}

// 136 and 104: rows of whole eights whose last group is short; 100: rows that are not; 256: rows of
// whole groups.
TEST(DequantizeGpu, GivesTheBitsOfOneByOne) {
  QSWEEP_NEEDS_GPU();
  int compared = 0;
  for (const FormatSpec& spec : test::all_specs()) {
    for (const auto& [out, in] :
         {std::pair<int64_t, int64_t>{19, 136}, {6, 104}, {5, 100}, {40, 256}}) {
      if (!quant::shape_problem(spec, out, in).empty()) continue;
      expect_same_bits(spec, out, in);
      ++compared;
    }
  }
  EXPECT_GT(compared, 300);
}

// Groups of three eights are no power of two, those of 20 no eights.
TEST(DequantizeGpu, TakesAnyGroup) {
  QSWEEP_NEEDS_GPU();
  for (const int64_t group : {24, 20, 8, 1}) {
    for (const bool symmetric : {true, false}) {
      for (const FormatId id : {FormatId::int4, FormatId::int8}) {
        expect_same_bits({id, group, symmetric, {ScaleCodecId::e5m, 5}}, 21, 264);
      }
    }
  }
}

// More rows than a piece of 24 MB has, the last one short.
TEST(DequantizeGpu, GoesOnFromPieceToPiece) {
  QSWEEP_NEEDS_GPU();
  expect_same_bits({FormatId::int4, 128, false, {ScaleCodecId::e5m, 5}}, 4101, 3072);
  expect_same_bits({FormatId::nf4, 64, true, {ScaleCodecId::dq8}}, 4104, 3072);
}

// A call of linears() on the GPU, and what it stands in.
struct Call {
  FormatSpec spec;
  std::vector<int64_t> outs;
  int64_t rows, in, out = 0;
  bool biased;
  std::vector<PackedMatrix> weights, on_gpu;
  std::vector<std::vector<float>> biases;
  std::vector<OnGpu<float>> gpu_biases;
  std::vector<float> x, norm, h;
  device::KernelCalls calls;
  std::vector<device::KernelCalls> layer_calls;

  Call(const FormatSpec& s, std::vector<int64_t> o, int64_t row_count, int64_t cols, bool with_bias)
      : spec(s), outs(std::move(o)), rows(row_count), in(cols), biased(with_bias) {
    for (const int64_t rows_of_part : outs) {
      weights.push_back(packed(spec, rows_of_part, in));
      on_gpu.push_back(test::copy_on_gpu(weights.back()));
      biases.push_back(random_values(rows_of_part, 13 + static_cast<uint64_t>(out)));
      gpu_biases.emplace_back(biases.back());
      out += rows_of_part;
    }
    layer_calls.resize(outs.size());
    x = test::rounded_to_bf16(random_values(rows * in, 3));
    norm = test::rounded_to_bf16(random_values(in, 4));
    h = test::rounded_to_bf16(random_values(rows * out, 5));
  }

  // The first part of several goes without a bias.
  bool has_bias(size_t part) const { return biased && (part > 0 || outs.size() == 1); }

  std::vector<float> run(Finish finish, bool normed, const std::vector<float>& input) {
    std::vector<kernels::LinearPart> parts;
    for (size_t i = 0; i < outs.size(); ++i) {
      parts.push_back({&on_gpu[i], has_bias(i) ? gpu_biases[i].data() : nullptr, &layer_calls[i]});
    }
    const std::vector<float> scratch(static_cast<size_t>(rows * std::max(in, out)), -77.0f);
    OnGpu<float> gx(input), gnorm(norm), gn(scratch), gp(scratch);
    const bool gate = finish == Finish::gate;
    OnGpu<float> y(gate ? std::vector<float>(static_cast<size_t>(rows * out / 2), -77.0f) : h);
    device::Context context = test::gpu_context(Compute::bf16);
    context.calls = &calls;
    kernels::LinearsArgs args{};
    args.parts = parts;
    args.x = gx.data();
    args.rows = rows;
    args.norm_weight = normed ? gnorm.data() : nullptr;
    args.norm_eps = 1e-5;
    args.finish = finish;
    args.y = y.data();
    args.normed = gn.data();
    args.product = gp.data();
    kernels::linears(context, args);
    return y.back();
  }

  std::vector<float> normed_x() const {
    OnGpu<float> gx(x), gnorm(norm);
    kernels::rmsnorm(test::gpu_context(Compute::bf16),
                     {gx.data(), in, gnorm.data(), 1e-5, rows, 1, in, gx.data(), in});
    return gx.back();
  }

  std::vector<float> finished(Finish finish, const std::vector<float>& product) const {
    const device::Context context = test::gpu_context(Compute::bf16);
    OnGpu<float> p(product);
    if (finish == Finish::none) return product;
    if (finish == Finish::residual) {
      OnGpu<float> y(h);
      kernels::residual_add(context, p.data(), y.data(), rows * out);
      return y.back();
    }
    OnGpu<float> y(std::vector<float>(static_cast<size_t>(rows * out / 2)));
    kernels::silu_mul(context, {p.data(), out, p.data() + out / 2, out, rows, out / 2, y.data()});
    return y.back();
  }

  // Products against the plain reference, within the bounds of linear_cuda.cuh and the rounding of
  // the result.
  void check_products(const std::vector<float>& got, test::Allowance& allowed) const {
    int64_t column = 0;
    for (size_t part = 0; part < outs.size(); ++part) {
      const PackedMatrix& w = weights[part];
      std::vector<float> decoded(static_cast<size_t>(w.rows * in));
      quant::dequantize_rows(w, 0, w.rows, decoded.data());
      std::vector<float> expected(static_cast<size_t>(rows * w.rows));
      const float* bias = has_bias(part) ? biases[part].data() : nullptr;
      kernels::ref::linear({&w, bias, x.data(), in, rows, expected.data(), w.rows, nullptr});
      double relative = (static_cast<double>(in) + 2) * 0x1p-23;
      if (spec.id != FormatId::bf16) relative += 0x1p-8;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t o = 0; o < w.rows; ++o) {
          double magnitude = bias == nullptr ? 0 : std::fabs(bias[o]);
          for (int64_t i = 0; i < in; ++i) {
            magnitude += std::fabs(double{decoded[static_cast<size_t>(o * in + i)]} *
                                   x[static_cast<size_t>(r * in + i)]);
          }
          const float value = expected[static_cast<size_t>(r * w.rows + o)];
          const double error = relative * magnitude;
          allowed.check(got[static_cast<size_t>(r * out + column + o)], value,
                        error + test::bf16_half_ulp * (std::fabs(value) + error),
                        std::to_string(r) + ", " + std::to_string(column + o));
        }
      }
      column += w.rows;
    }
  }
};

// linear/tiles adds the squares of a row in an order of its own: a normed value may fall to its
// neighbour, 2^-8 of it; sums over random terms of that size stay below 2^-8 of the largest result,
// and a result may fall to its neighbour then.
void compare_normed(const Call& call, const std::vector<float>& got,
                    const std::vector<float>& expected) {
  if (test::strategy_of(call.weights[0], call.rows) != "tiles") {
    EXPECT_EQ(got, expected);
    return;
  }
  double largest = 0;
  for (const float value : expected) largest = std::max(largest, std::fabs(double{value}));
  test::Allowance allowed("normed");
  for (size_t i = 0; i < got.size(); ++i) {
    allowed.check(got[i], expected[i], 4 * test::bf16_half_ulp * largest, std::to_string(i));
  }
}

// Each stage alone, on the same numbers: the finish has the op's own bits, and where cuBLAS
// multiplies, the norm too.
void compare_stages(Call& call, Finish finish, test::Allowance& allowed) {
  const std::vector<float> plain = call.run(Finish::none, false, call.x);
  call.check_products(plain, allowed);
  const std::vector<float> normed = call.run(Finish::none, true, call.x);
  compare_normed(call, normed, call.run(Finish::none, false, call.normed_x()));
  EXPECT_EQ(call.run(finish, false, call.x), call.finished(finish, plain));
  EXPECT_EQ(call.run(finish, true, call.x), call.finished(finish, normed));
}

// Shapes that take quads and shapes that do not: 1300 columns are no whole eights, 1301 no quads;
// the halves of 26 are 13.
TEST(ManyRowsGpu, EqualTheOpsOneByOne) {
  QSWEEP_NEEDS_GPU();
  const FormatSpec int4{FormatId::int4, 128, false, {ScaleCodecId::e5m, 5}};
  struct Shape {
    Finish finish;
    std::vector<int64_t> outs;
    int64_t in;
  };
  const std::vector<Shape> shapes = {
      {Finish::none, {24, 16, 41}, 512}, {Finish::residual, {72}, 1300},
      {Finish::residual, {33, 5}, 1301}, {Finish::residual, {3}, 256},
      {Finish::gate, {80}, 512},         {Finish::gate, {40, 40}, 1300},
      {Finish::gate, {26}, 256},         {Finish::residual, {64}, 5120}};
  for (const FormatSpec& spec : {FormatSpec{FormatId::bf16}, FormatSpec{FormatId::fp16}, int4}) {
    test::Allowance allowed(quant::to_string(spec));
    for (const Shape& shape : shapes) {
      for (const int64_t rows : {17, 40, 65}) {
        for (const bool biased : {false, true}) {
          SCOPED_TRACE(quant::to_string(spec) + " in " + std::to_string(shape.in) + " rows " +
                       std::to_string(rows));
          Call call(spec, shape.outs, rows, shape.in, biased);
          compare_stages(call, shape.finish, allowed);
        }
      }
    }
  }
}

TEST(ManyRowsGpu, TakesEveryFormat) {
  QSWEEP_NEEDS_GPU();
  for (const FormatSpec& spec :
       {FormatSpec{FormatId::fp32}, FormatSpec{FormatId::fp8_e4m3},
        FormatSpec{FormatId::int8, 64, false}, FormatSpec{FormatId::int8, quant::per_tensor},
        FormatSpec{FormatId::int4, 32, true, {ScaleCodecId::fp16}},
        FormatSpec{FormatId::nf4, 64, true, {ScaleCodecId::dq8}}}) {
    test::Allowance allowed(quant::to_string(spec));
    Call call(spec, {48, 16}, 33, 640, false);
    compare_stages(call, Finish::residual, allowed);
  }
}

// Both ledgers hear of each linear once a call, and of nothing else.
TEST(ManyRowsGpu, CountsItsLinears) {
  QSWEEP_NEEDS_GPU();
  for (const auto& [spec, strategy] :
       {std::pair<FormatSpec, std::string>{{FormatId::bf16}, "cublas"},
        {{FormatId::int4, 32}, "dequantize_cublas"}}) {
    Call call(spec, {16, 16}, 17, 64, true);
    call.run(Finish::gate, true, call.x);
    const std::string kernel = kernels::linear_kernel_name(strategy, spec);
    ASSERT_EQ(call.calls.calls().size(), 1u);
    EXPECT_EQ(call.calls.calls().at(kernel), 2u);
    for (const device::KernelCalls& layer : call.layer_calls) {
      ASSERT_EQ(layer.calls().size(), 1u);
      EXPECT_EQ(layer.calls().at(kernel), 1u);
    }
  }
}

}  // namespace
}  // namespace qsweep
