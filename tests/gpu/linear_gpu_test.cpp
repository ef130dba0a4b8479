// linear() and linears() on the GPU against the plain reference, for every format, codec and group,
// at odd sizes and at sizes that the one-pass kernel takes.
#include "kernels/linear/linear.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "gpu/linear_case.hpp"
#include "gpu/on_gpu.hpp"
#include "kernels/linear/linears.hpp"
#include "unit/kernels/specs.hpp"

namespace qsweep {
namespace {

using device::Compute;
using quant::FormatId;
using quant::FormatSpec;
using quant::PackedMatrix;
using test::compare;
using test::ends_with_strategy;
using test::LinearCase;
using test::packed;
using test::random_values;

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
    for (const int64_t rows : {1, 5, 16}) {
      compare(w, rows, Compute::bf16, allowed, test::strategy_of(w, rows));
    }
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
      for (const int64_t rows : {1, 2}) {
        compare(w, rows, Compute::bf16, allowed, test::strategy_of(w, rows));
      }
    }
  }
}

// Blocks with many passes: they go round the ring several times, in whatever order their groups of
// warps come to an end, and finish more outputs than they have threads.
TEST(LinearGpu, OnePassGoesRoundTheRing) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("many passes");
  for (const auto& [out, in] : {std::pair<int64_t, int64_t>{70001, 64},
                                {70001, 128},
                                {70001, 256},
                                {16003, 3072},
                                {4001, 8192}}) {
    for (const FormatSpec& spec :
         {FormatSpec{FormatId::bf16}, FormatSpec{FormatId::int8, quant::per_channel},
          FormatSpec{FormatId::int4, 128}, FormatSpec{FormatId::int4, quant::per_channel}}) {
      const PackedMatrix w = packed(spec, out, in);
      for (const int64_t rows : {1, 3}) {
        compare(w, rows, Compute::bf16, allowed, test::strategy_of(w, rows));
      }
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
    LinearCase c(w, rows, Compute::fp32);
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

struct FusedCase {
  FormatSpec spec;
  kernels::Finish finish;
  std::vector<int64_t> outs;
  int64_t rows, in;
  bool normed;
};

void expect_as_one_by_one(const FusedCase& c) {
  Fused fused(c.spec, c.outs, c.rows, c.in);
  device::KernelCalls on_cpu, on_gpu;
  const std::vector<float> expected = fused.run(c.finish, c.normed, false, on_cpu);
  const std::vector<float> got = fused.run(c.finish, c.normed, true, on_gpu);
  ASSERT_EQ(on_gpu.calls().size(), 1u);
  EXPECT_TRUE(ends_with_strategy(on_gpu, test::strategy_of(fused.weights[0], c.rows)));
  EXPECT_EQ(on_gpu.calls().begin()->second, c.outs.size());
  // A normed x may fall to its neighbour, 2^-8 of it, anywhere; sums over random terms of that size
  // stay below 2^-8 of the largest output's size. The finish adds two roundings of its own.
  double largest = 0;
  for (const float value : expected) largest = std::max(largest, std::fabs(double{value}));
  const double bound = 4 * test::bf16_half_ulp * largest;
  test::Allowance allowed(quant::to_string(c.spec) + " finish " +
                          std::to_string(static_cast<int>(c.finish)));
  for (size_t i = 0; i < got.size(); ++i) {
    allowed.check(got[i], expected[i], bound, std::to_string(i));
  }
}

const FormatSpec int4_e5m5{FormatId::int4, 128, true, {quant::ScaleCodecId::e5m, 5}};

TEST(LinearsGpu, EqualsTheOpsOneByOne) {
  QSWEEP_NEEDS_GPU();
  using kernels::Finish;
  for (const FormatSpec& spec : {FormatSpec{FormatId::bf16}, int4_e5m5}) {
    for (const auto& [finish, outs] :
         std::vector<std::pair<Finish, std::vector<int64_t>>>{{Finish::none, {24, 16, 40}},
                                                              {Finish::residual, {72}},
                                                              {Finish::gate, {80}},
                                                              {Finish::gate, {40, 40}}}) {
      for (const int64_t rows : {1, 3, 11, 17, 40, 65}) {
        for (const bool normed : {false, true}) {
          expect_as_one_by_one({spec, finish, outs, rows, 512, normed});
        }
      }
    }
  }
}

// Tiles of several matrices, and halves of a gate that end within a tile: few, whose columns the
// blocks of a cluster share, and more than one a multiprocessor.
TEST(LinearsGpu, TilesGoOverTheEndsOfMatrices) {
  QSWEEP_NEEDS_GPU();
  using kernels::Finish;
  const FormatSpec nf4{FormatId::nf4, 64, true, {quant::ScaleCodecId::dq8}};
  for (const FormatSpec& spec : {int4_e5m5, nf4}) {
    const int64_t least_cols = spec == nf4 ? 128 : 64;  // nf4 only with two groups or more
    for (const int64_t rows : {6, 13, 70}) {
      expect_as_one_by_one({spec, Finish::none, {1403, 333, 331}, rows, 1024, true});
      expect_as_one_by_one({spec, Finish::none, {8403, 333}, rows, 128, true});
      expect_as_one_by_one({spec, Finish::gate, {2 * 1403}, rows, 1024, true});
      expect_as_one_by_one({spec, Finish::gate, {4603, 4603}, rows, 128, false});
      expect_as_one_by_one({spec, Finish::gate, {9603, 9603}, rows, least_cols, true});
      expect_as_one_by_one({spec, Finish::none, {16'903, 333}, rows, least_cols, false});
      expect_as_one_by_one({spec, Finish::residual, {403}, rows, 4096, false});
    }
  }
}

// One row has a kernel of its own. Blocks whose outputs are of several matrices, and passes too;
// with a gate, halves that end within a pass.
TEST(LinearsGpu, OneRowGoesOverTheEndsOfMatrices) {
  QSWEEP_NEEDS_GPU();
  using kernels::Finish;
  const FormatSpec fp32_scales{FormatId::int4, 128, true, {quant::ScaleCodecId::fp32}};
  for (const FormatSpec& spec :
       {FormatSpec{FormatId::bf16}, int4_e5m5, fp32_scales,
        FormatSpec{FormatId::int8, quant::per_channel}, FormatSpec{FormatId::fp8_e4m3, 128}}) {
    expect_as_one_by_one({spec, Finish::none, {1403, 333, 331}, 1, 1024, true});
    expect_as_one_by_one({spec, Finish::gate, {2 * 1403}, 1, 1024, true});
    expect_as_one_by_one({spec, Finish::residual, {1403}, 1, 8192, false});
  }
}

// Beside integer codes the row becomes an integer: one large element leaves little of the others,
// and what is no number must not vanish.
TEST(LinearGpu, OneRowKeepsOutliersAndNoNumbers) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("an outlier");
  for (const FormatSpec& spec : {int4_e5m5, FormatSpec{FormatId::int8, quant::per_channel},
                                 FormatSpec{FormatId::fp8_e4m3, quant::per_channel}}) {
    const PackedMatrix w = packed(spec, 300, 2048);
    LinearCase outlier(w, 1, Compute::bf16);
    outlier.x[1234] = 30000;
    kernels::ref::linear({&w, outlier.bias.data(), outlier.x.data(), w.cols, 1,
                          outlier.expected.data(), w.rows, nullptr});
    const std::vector<float> got = outlier.on_gpu();
    EXPECT_TRUE(ends_with_strategy(outlier.calls, "stream_one")) << quant::to_string(spec);
    for (size_t i = 0; i < got.size(); ++i) {
      allowed.check(got[i], outlier.expected[i], outlier.allowance(i), std::to_string(i));
    }
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      LinearCase c(w, 1, Compute::bf16);
      c.x[77] = bad;
      for (const float y : c.on_gpu()) EXPECT_FALSE(std::isfinite(y)) << quant::to_string(spec);
    }
    LinearCase zero(w, 1, Compute::bf16);
    zero.x.assign(zero.x.size(), 0.0f);
    const std::vector<float> only_bias = zero.on_gpu();
    EXPECT_EQ(only_bias, test::rounded_to_bf16(zero.bias));
  }
}

// The kernels read weights and write y, nothing else: the same call gives the same bits.
TEST(LinearsGpu, SameBitsEveryTime) {
  QSWEEP_NEEDS_GPU();
  const PackedMatrix w = packed({FormatId::int4, 128}, 264, 2048);
  for (const int64_t rows : {1, 7, 33}) {
    LinearCase c(w, rows, Compute::bf16);
    const std::vector<float> first = c.on_gpu();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(c.on_gpu(), first) << rows;
  }
}

}  // namespace
}  // namespace qsweep
