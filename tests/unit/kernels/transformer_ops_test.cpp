// rmsnorm, rope, attention, silu_mul, residual, embedding against their references at odd sizes,
// and thread counts.
#include <gtest/gtest.h>

#include <cstring>

#include "kernels/attention/attention.hpp"
#include "kernels/embedding/embedding.hpp"
#include "kernels/logits/logits.hpp"
#include "kernels/residual/residual.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"
#include "unit/kernels/numbers.hpp"

namespace qsweep {
namespace {

using test::half_ulp;
using test::random_values;

TEST(RmsNorm, MatchesReference) {
  test::Allowance allowance("rmsnorm");
  for (const int64_t dim : {1, 5, 64, 96, 129, 3072}) {
    const int64_t rows = 3, parts = 2, stride = parts * dim + 3;
    const auto x = random_values(rows * stride, 1), w = random_values(dim, 2);
    std::vector<float> got(x.size()), expected(x.size());
    kernels::RmsNormArgs args{x.data(), stride, w.data(),   1e-5,  rows,
                              parts,    dim,    got.data(), stride};
    kernels::rmsnorm({}, args);
    args.y = expected.data();
    kernels::ref::rmsnorm(args);
    for (size_t i = 0; i < x.size(); ++i) {
      // The bound of rmsnorm.hpp.
      const double bound = (static_cast<double>(dim) / 8 + 12) * half_ulp * std::fabs(expected[i]);
      allowance.check(got[i], expected[i], bound + 1e-30, std::to_string(dim));
    }
  }
}

TEST(SiluMul, MatchesReferenceFarOutToo) {
  test::Allowance allowance("silu_mul");
  const int64_t rows = 3, ffn = 517;
  auto both = random_values(rows * 2 * ffn, 3, 5.0);
  both[0] = 90;
  both[1] = -90;
  std::vector<float> got(static_cast<size_t>(rows * ffn)), expected(got.size());
  kernels::SiluMulArgs args{both.data(), 2 * ffn, both.data() + ffn, 2 * ffn,
                            rows,        ffn,     got.data()};
  kernels::silu_mul({.threads = 2}, args);
  args.y = expected.data();
  kernels::ref::silu_mul(args);
  for (size_t i = 0; i < got.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i) / ffn, column = static_cast<int64_t>(i) % ffn;
    const double up = both[static_cast<size_t>(row * 2 * ffn + ffn + column)];
    // The bound of silu_mul.hpp.
    const double bound = 12 * half_ulp * std::fabs(expected[i]) + 2.4e-36 * std::fabs(up);
    allowance.check(got[i], expected[i], bound, std::to_string(i));
  }
}

TEST(Residual, Adds) {
  const auto x = random_values(77, 4);
  auto got = random_values(77, 5), expected = got;
  kernels::residual_add({}, x.data(), got.data(), 77);
  kernels::ref::residual_add(x.data(), expected.data(), 77);
  EXPECT_EQ(got, expected);  // one rounding of an exact double sum is the fp32 sum
}

TEST(Embedding, Gathers) {
  const auto values = random_values(11 * 6, 6);
  const auto w = quant::pack_raw(quant::FormatId::fp32, std::as_bytes(std::span(values)), 11, 6);
  const std::vector<int32_t> tokens = {10, 0, 3, 3};
  std::vector<float> got(24), expected(24);
  kernels::embedding({}, {&w, tokens.data(), 4, got.data()});
  kernels::ref::embedding({&w, tokens.data(), 4, expected.data()});
  EXPECT_EQ(got, expected);
  EXPECT_EQ(got[0], values[60]);
}

TEST(Rope, MatchesReferenceAndTurnsBySmallAngles) {
  test::Allowance allowance("rope");
  for (const int64_t dim : {2, 6, 64, 96}) {
    const auto frequencies = kernels::rope_frequencies(10000, dim);
    const int64_t rows = 5, heads = 3, half = dim / 2;
    std::vector<float> cos(static_cast<size_t>(rows * half)), sin(cos), cos_ref(cos), sin_ref(cos);
    kernels::rope_table({}, {frequencies.data(), 1.19, 1000, rows, half, cos.data(), sin.data()});
    kernels::ref::rope_table(
        {frequencies.data(), 1.19, 1000, rows, half, cos_ref.data(), sin_ref.data()});
    for (size_t i = 0; i < cos.size(); ++i) {
      allowance.check(cos[i], cos_ref[i], 4 * half_ulp, "cos");
      allowance.check(sin[i], sin_ref[i], 4 * half_ulp, "sin");
    }
    auto got = random_values(rows * heads * dim, 8);
    auto expected = got;
    const auto before = got;
    kernels::rope({}, {got.data(), heads * dim, rows, heads, dim, cos.data(), sin.data()});
    kernels::ref::rope({expected.data(), heads * dim, rows, heads, dim, cos.data(), sin.data()});
    for (int64_t i = 0; i < static_cast<int64_t>(got.size()); ++i) {
      const int64_t in_head = i % dim, partner = in_head < half ? i + half : i - half;
      const double size = 1.19 * (std::fabs(before[static_cast<size_t>(i)]) +
                                  std::fabs(before[static_cast<size_t>(partner)]));
      allowance.check(got[static_cast<size_t>(i)], expected[static_cast<size_t>(i)],
                      4 * half_ulp * size, std::to_string(i));
    }
  }
  // By hand: at position 1 with one frequency 1, (1, 0) becomes (cos 1, sin 1).
  std::vector<float> x = {1, 0}, cos(1), sin(1);
  const float one = 1;
  kernels::rope_table({}, {&one, 1, 1, 1, 1, cos.data(), sin.data()});
  kernels::rope({}, {x.data(), 2, 1, 1, 2, cos.data(), sin.data()});
  EXPECT_NEAR(x[0], 0.5403023, 1e-6);
  EXPECT_NEAR(x[1], 0.8414710, 1e-6);
}

TEST(Rope, PublishedLlama3Frequencies) {
  const auto plain = kernels::rope_frequencies(500000, 64);
  const auto scaled = kernels::rope_frequencies_llama3(500000, 64, {32, 1, 4, 8192});
  const std::vector<std::tuple<int, double, double>> published = {
      {0, 1, 1},
      {1, 0.663601238, 0.663601238},
      {13, 0.00483942135, 0.00483942135},
      {14, 0.00321144599, 0.00321144599},
      {15, 0.00213111954, 0.00129054793},
      {16, 0.00141421356, 0.000429556797},
      {17, 0.00093847387, 9.7082878e-05},
      {18, 0.000622772422, 1.94616382e-05},
      {31, 3.01385815e-06, 9.41830673e-08}};
  for (const auto& [i, before, after] : published) {
    // Nine digits are printed; fp32 holds seven.
    EXPECT_NEAR(plain[static_cast<size_t>(i)] / before, 1, 2e-7) << i;
    EXPECT_NEAR(scaled[static_cast<size_t>(i)] / after, 1, 2e-7) << i;
  }
  int unchanged = 0, divided = 0;
  for (size_t i = 0; i < 32; ++i) {
    unchanged += scaled[i] == plain[i];
    divided += std::fabs(scaled[i] * 32 / plain[i] - 1) < 1e-6;
  }
  EXPECT_EQ(unchanged, 15);
  EXPECT_EQ(divided, 14);
}

struct AttentionCase {
  int64_t rows, first, heads, kv_heads, dim, capacity;
  kernels::CacheType type;
  std::vector<float> q, k, v, y;
  std::vector<std::byte> keys, values;

  AttentionCase(int64_t r, int64_t f, int64_t h, int64_t kv, int64_t d, kernels::CacheType t)
      : rows(r),
        first(f),
        heads(h),
        kv_heads(kv),
        dim(d),
        capacity(f + r + 3),
        type(t),
        q(random_values(r * h * d, 21)),
        k(random_values((f + r) * kv * d, 22)),
        v(random_values((f + r) * kv * d, 23)),
        y(static_cast<size_t>(r * h * d)) {
    const auto bytes = static_cast<size_t>(kv * capacity * d * kernels::cache_element_bytes(t));
    keys.assign(bytes, std::byte{0x7F});  // unread positions are NaN or huge: reading one shows
    values.assign(bytes, std::byte{0x7F});
    // Appended in two pieces, as prefill and decode do.
    for (auto& [from, to] : {std::pair{&k, view(keys)}, std::pair{&v, view(values)}}) {
      if (first > 0) kernels::cache_append({}, {from->data(), kv * d, first, 0, to});
      kernels::cache_append({}, {from->data() + first * kv * d, kv * d, rows, first, to});
    }
  }
  kernels::CacheView view(std::vector<std::byte>& bytes) const {
    return {bytes.data(), type, kv_heads, capacity, dim};
  }
  kernels::AttentionArgs args() {
    return {q.data(),   heads * dim,  rows,     heads,      first,
            view(keys), view(values), y.data(), heads * dim};
  }
};

TEST(Attention, MatchesReference) {
  test::Allowance allowance("attention");
  for (const auto type : {kernels::CacheType::fp32, kernels::CacheType::bf16}) {
    for (const auto& [rows, first, heads, kv, dim] :
         {std::tuple<int, int, int, int, int>{1, 0, 1, 1, 2},
          {1, 40, 4, 2, 64},
          {19, 0, 4, 1, 96},
          {7, 33, 6, 3, 10},
          {2, 520, 6, 2, 40},
          {70, 0, 2, 1, 16}}) {
      AttentionCase got(rows, first, heads, kv, dim, type),
          expected(rows, first, heads, kv, dim, type);
      kernels::attention({.threads = 2}, got.args());
      kernels::ref::attention(expected.args());
      // The bound of attention.hpp; scores of these inputs stay below 6, values below 4.
      const double bound = (first + rows + dim / 8.0 + 48) * half_ulp * 7 * 4;
      for (size_t i = 0; i < got.y.size(); ++i)
        allowance.check(got.y[i], expected.y[i], bound, std::to_string(i));
    }
  }
}

TEST(Attention, BitsDoNotDependOnThreads) {
  for (const auto& [rows, first] : {std::pair<int64_t, int64_t>{150, 20}, {3, 600}, {1, 700}}) {
    for (const auto type : {kernels::CacheType::fp32, kernels::CacheType::bf16}) {
      AttentionCase one(rows, first, 8, 2, 32, type);
      kernels::attention({}, one.args());
      for (const int threads : {2, 3, 5}) {
        AttentionCase many(rows, first, 8, 2, 32, type);
        kernels::attention({.threads = threads}, many.args());
        EXPECT_EQ(one.y, many.y) << rows << " rows, " << threads << " threads";
      }
    }
  }
}

TEST(Logits, ArgmaxAndLogSoftmaxByHand) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(kernels::argmax(std::vector<float>{1, 3, 3, 2}), 1);
  EXPECT_EQ(kernels::argmax(std::vector<float>{nan, -5, nan}), 1);
  const std::vector<float> x = {1000, 1000 + std::log(3.0f)};
  std::vector<float> y(2);
  kernels::log_softmax(x, y);
  EXPECT_NEAR(y[0], std::log(0.25), 1e-4);  // 1000 + ln 3 keeps four decimals in fp32
  EXPECT_NEAR(y[1], std::log(0.75), 1e-4);
}

}  // namespace
}  // namespace qsweep
