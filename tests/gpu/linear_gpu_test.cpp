// linear() and linears() on the GPU against the plain reference, for every format, codec and group,
// at odd sizes and at sizes that the one-pass kernel takes.
#include "kernels/linear/linear.hpp"

#include <gtest/gtest.h>

#include <map>

#include "gpu/on_gpu.hpp"
#include "kernels/linear/linears.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep {
namespace {

using device::Compute;
using quant::FormatId;
using quant::FormatSpec;
using quant::PackedMatrix;
using test::packed;
using test::random_values;

bool ends_with_strategy(const device::KernelCalls& calls, const std::string& strategy) {
  return calls.calls().size() == 1 &&
         calls.calls().begin()->first.starts_with("linear/" + strategy + "/");
}

struct Case {
  const PackedMatrix& w;
  int64_t rows;
  Compute compute;
  std::vector<float> x, bias;
  std::vector<float> weights, expected;
  device::KernelCalls calls;

  Case(const PackedMatrix& weight, int64_t row_count, Compute c)
      : w(weight),
        rows(row_count),
        compute(c),
        x(random_values(row_count * weight.cols, 11)),
        bias(random_values(weight.rows, 13)),
        weights(static_cast<size_t>(weight.rows * weight.cols)),
        expected(static_cast<size_t>(row_count * weight.rows)) {
    if (compute == Compute::bf16) x = test::rounded_to_bf16(x);
    quant::dequantize_rows(w, 0, w.rows, weights.data());
    kernels::ref::linear(
        {&w, bias.data(), x.data(), w.cols, rows, expected.data(), w.rows, nullptr});
  }

  std::vector<float> on_gpu() {
    const PackedMatrix weight = test::copy_on_gpu(w);
    test::OnGpu<float> gpu_x(x), gpu_bias(bias);
    test::OnGpu<float> y(std::vector<float>(expected.size(), -77.0f));
    device::Context context = test::gpu_context(compute);
    context.calls = &calls;
    kernels::linear(
        context, {&weight, gpu_bias.data(), gpu_x.data(), w.cols, rows, y.data(), w.rows, nullptr});
    return y.back();
  }

  // The bounds of linear_cuda.cuh, and the rounding of the result.
  double allowance(size_t at) const {
    const auto row = static_cast<int64_t>(at) / w.rows, out = static_cast<int64_t>(at) % w.rows;
    double magnitude = std::fabs(bias[static_cast<size_t>(out)]), inputs = 0, largest = 0;
    for (int64_t i = 0; i < w.cols; ++i) {
      const double weight = std::fabs(weights[static_cast<size_t>(out * w.cols + i)]);
      const double input = std::fabs(x[static_cast<size_t>(row * w.cols + i)]);
      magnitude += weight * input;
      inputs += input;
      largest = std::max(largest, weight);
    }
    // The offset of int4's codes, 8 scales or a zero point, is below twice the largest weight.
    if (w.spec.id == FormatId::int4 && ends_with_strategy(calls, "stream")) {
      magnitude += 2 * largest * inputs;
    }
    double relative = (static_cast<double>(w.cols) + 64) * 0x1p-23;
    const bool decoded = !ends_with_strategy(calls, "cublas") && rows > 8;
    if (compute == Compute::bf16 && decoded) relative += 0x1p-8;
    if (w.spec.id == FormatId::nf4) relative += 0x1p-12;
    const double rounding =
        compute == Compute::bf16 ? test::bf16_half_ulp * std::fabs(expected[at]) : 0;
    return relative * magnitude + rounding * (1 + relative);
  }
};

void compare(const PackedMatrix& w, int64_t rows, Compute compute, test::Allowance& allowed,
             const std::string& strategy) {
  Case c(w, rows, compute);
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

TEST(LinearGpu, MatchesReferenceAtOddSizes) {
  QSWEEP_NEEDS_GPU();
  for (const FormatSpec& spec : test::all_specs()) {
    test::Allowance allowed(quant::to_string(spec));
    int here = 0;
    for (const auto& [out, in] :
         {std::pair<int64_t, int64_t>{1, 64}, {33, 37}, {19, 129}, {5, 448}}) {
      if (!quant::shape_problem(spec, out, in).empty()) continue;
      const PackedMatrix w = packed(spec, out, in);
      for (const int64_t rows : {1, 3, 9}) {
        for (const Compute compute : {Compute::fp32, Compute::bf16}) {
          compare(w, rows, compute, allowed, "");
        }
      }
      ++here;
    }
    if (here == 0) allowed.check(0, 0, 1, "a combination the format refuses");
  }
}

// 1024 columns: slabs of every chunk length, with warps that get none; 70 rows: a tile that ends
// early.
TEST(LinearGpu, OnePassMatchesReference) {
  QSWEEP_NEEDS_GPU();
  std::map<FormatId, int> compared;
  for (const FormatSpec& spec : test::all_specs()) {
    const int64_t out = 70, in = 1024;
    if (!quant::shape_problem(spec, out, in).empty()) continue;
    const bool taken = spec.id != FormatId::fp32;
    if (!taken) continue;
    test::Allowance allowed(quant::to_string(spec));
    const PackedMatrix w = packed(spec, out, in);
    for (const int64_t rows : {1, 5, 16}) compare(w, rows, Compute::bf16, allowed, "stream");
    ++compared[spec.id];
  }
  for (const FormatId id :
       {FormatId::bf16, FormatId::int4, FormatId::int8, FormatId::fp8_e4m3, FormatId::nf4}) {
    EXPECT_GT(compared[id], 0) << name_of(id);
  }
}

// Inputs that a block keeps in registers (8192 columns, where all threads have their full share)
// and one that it reads twice.
TEST(LinearGpu, OnePassTakesLongRows) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("long rows");
  for (const int64_t in : {8192, 9216}) {
    for (const FormatSpec& spec : {FormatSpec{FormatId::bf16}, FormatSpec{FormatId::int4, 128}}) {
      const PackedMatrix w = packed(spec, 20, in);
      for (const int64_t rows : {1, 2}) compare(w, rows, Compute::bf16, allowed, "stream");
    }
  }
}

TEST(LinearGpu, ManyRowsNameTheirStrategy) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("many rows");
  compare(packed({FormatId::bf16}, 96, 64), 40, Compute::bf16, allowed, "cublas");
  compare(packed({FormatId::fp32}, 96, 64), 40, Compute::fp32, allowed, "cublas");
  compare(packed({FormatId::int4, 32}, 96, 64), 40, Compute::bf16, allowed, "dequantize_cublas");
  compare(packed({FormatId::int4, 32}, 96, 64), 40, Compute::fp32, allowed, "dequantize_cublas");
}

TEST(LinearGpu, WritesOnlyItsColumns) {
  QSWEEP_NEEDS_GPU();
  const PackedMatrix w = packed({FormatId::bf16}, 4, 64), on_gpu = test::copy_on_gpu(w);
  for (const int64_t rows : {int64_t{2}, int64_t{12}}) {
    Case c(w, rows, Compute::fp32);
    test::OnGpu<float> x(c.x), y(std::vector<float>(static_cast<size_t>(rows * 9), -77.0f));
    kernels::linear(test::gpu_context(),
                    {&on_gpu, nullptr, x.data(), w.cols, rows, y.data() + 3, 9, nullptr});
    const std::vector<float> wide = y.back();
    for (size_t i = 0; i < wide.size(); ++i) {
      EXPECT_EQ(wide[i] == -77.0f, i % 9 < 3 || i % 9 >= 7) << i;
    }
  }
}

// Several parts, a norm before and a finish behind, in one pass or in many rows: against the ops
// one by one on the CPU. Both round at the same points; where sums differ in their last bits a
// value falls to the neighbouring bf16 number, and each later stage carries that on.
struct Fused {
  std::vector<PackedMatrix> weights;
  std::vector<float> x, norm, h;
  int64_t rows, in, out = 0;

  Fused(const FormatSpec& spec, std::vector<int64_t> outs, int64_t row_count, int64_t cols)
      : rows(row_count), in(cols) {
    for (const int64_t o : outs) {
      weights.push_back(packed(spec, o, in));
      out += o;
    }
    x = test::rounded_to_bf16(random_values(rows * in, 3));
    norm = test::rounded_to_bf16(random_values(in, 4));
    h = test::rounded_to_bf16(random_values(rows * out, 5));
  }

  std::vector<float> run(kernels::Finish finish, bool normed, bool gpu,
                         device::KernelCalls& calls) {
    device::Context context;
    context.compute = Compute::bf16;
    if (gpu) context = test::gpu_context(Compute::bf16);
    context.calls = &calls;
    std::vector<PackedMatrix> copies;
    std::vector<kernels::LinearPart> parts;
    if (gpu) {
      for (const PackedMatrix& w : weights) copies.push_back(test::copy_on_gpu(w));
    }
    for (const PackedMatrix& w : gpu ? copies : weights) parts.push_back({&w, nullptr, nullptr});
    const auto scratch = static_cast<size_t>(rows * std::max(in, out));
    std::vector<float> y = h, n(scratch), p(scratch);
    kernels::LinearsArgs args{};
    args.parts = parts;
    args.rows = rows;
    args.norm_eps = 1e-5;
    args.finish = finish;
    if (!gpu) {
      args.x = x.data();
      args.norm_weight = normed ? norm.data() : nullptr;
      args.y = y.data();
      args.normed = n.data();
      args.product = p.data();
      kernels::linears(context, args);
      return y;
    }
    test::OnGpu<float> gx(x), gnorm(norm), gy(y), gn(n), gp(p);
    args.x = gx.data();
    args.norm_weight = normed ? gnorm.data() : nullptr;
    args.y = gy.data();
    args.normed = gn.data();
    args.product = gp.data();
    kernels::linears(context, args);
    return gy.back();
  }
};

TEST(LinearsGpu, EqualsTheOpsOneByOne) {
  QSWEEP_NEEDS_GPU();
  using kernels::Finish;
  const FormatSpec int4{FormatId::int4, 128, true, {quant::ScaleCodecId::e5m, 5}};
  for (const FormatSpec& spec : {FormatSpec{FormatId::bf16}, int4}) {
    for (const auto& [finish, outs] :
         std::vector<std::pair<Finish, std::vector<int64_t>>>{{Finish::none, {24, 16, 40}},
                                                              {Finish::residual, {72}},
                                                              {Finish::gate, {80}},
                                                              {Finish::gate, {40, 40}}}) {
      for (const int64_t rows : {1, 3, 11, 17, 40, 65}) {
        for (const bool normed : {false, true}) {
          Fused fused(spec, outs, rows, 512);
          device::KernelCalls on_cpu, on_gpu;
          const std::vector<float> expected = fused.run(finish, normed, false, on_cpu);
          const std::vector<float> got = fused.run(finish, normed, true, on_gpu);
          ASSERT_EQ(on_gpu.calls().size(), 1u);
          const bool many = rows > 16, decoded = many && spec.id != FormatId::bf16;
          EXPECT_TRUE(ends_with_strategy(on_gpu, decoded ? "dequantize_cublas"
                                                 : many  ? "cublas"
                                                         : "stream"));
          EXPECT_EQ(on_gpu.calls().begin()->second, outs.size());
          // A normed x may fall to its neighbour, 2^-8 of it, anywhere; sums over 512 random terms
          // of that size stay below 2^-8 of the largest output's size, and so do those of weights
          // rounded to bf16. The finish adds two roundings of its own.
          double largest = 0;
          for (const float value : expected) largest = std::max(largest, std::fabs(double{value}));
          const double bound = (decoded ? 5 : 4) * test::bf16_half_ulp * largest;
          test::Allowance allowed(quant::to_string(spec) + " finish " +
                                  std::to_string(static_cast<int>(finish)));
          for (size_t i = 0; i < got.size(); ++i) {
            allowed.check(got[i], expected[i], bound, std::to_string(i));
          }
        }
      }
    }
  }
}

// The kernels read weights and write y, nothing else: the same call gives the same bits.
TEST(LinearsGpu, SameBitsEveryTime) {
  QSWEEP_NEEDS_GPU();
  const PackedMatrix w = packed({FormatId::int4, 128}, 264, 2048);
  for (const int64_t rows : {1, 7, 33}) {
    Case c(w, rows, Compute::bf16);
    const std::vector<float> first = c.on_gpu();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(c.on_gpu(), first) << rows;
  }
}

}  // namespace
}  // namespace qsweep
