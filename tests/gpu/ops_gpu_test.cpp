// The other ops on the GPU against their references, at odd sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gpu/on_gpu.hpp"
#include "kernels/attention/attention.hpp"
#include "kernels/embedding/embedding.hpp"
#include "kernels/heads/heads.hpp"
#include "kernels/logits/logits.hpp"
#include "kernels/residual/residual.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"
#include "kernels/token_scores/token_scores.hpp"

namespace qsweep {
namespace {

using kernels::CacheType;
using test::half_ulp;
using test::OnGpu;
using test::random_values;

TEST(RmsNormGpu, MatchesReference) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("rmsnorm");
  for (const int64_t dim : {1, 5, 64, 96, 129, 3072}) {
    const int64_t rows = 3, parts = 2, stride = parts * dim + 3;
    const auto x = random_values(rows * stride, 1), w = random_values(dim, 2);
    std::vector<float> expected(x.size());
    kernels::ref::rmsnorm(
        {x.data(), stride, w.data(), 1e-5, rows, parts, dim, expected.data(), stride});
    OnGpu<float> gx(x), gw(w), gy(std::vector<float>(x.size(), 0.0f));
    kernels::rmsnorm(test::gpu_context(),
                     {gx.data(), stride, gw.data(), 1e-5, rows, parts, dim, gy.data(), stride});
    const auto got = gy.back();
    for (size_t i = 0; i < x.size(); ++i) {
      // The bound of rmsnorm.hpp.
      const double bound = (static_cast<double>(dim) / 8 + 12) * half_ulp * std::fabs(expected[i]);
      allowed.check(got[i], expected[i], bound + 1e-30, std::to_string(dim));
    }
  }
}

TEST(SiluMulGpu, MatchesReferenceFarOutToo) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("silu_mul");
  const int64_t rows = 3, ffn = 517;
  auto both = random_values(rows * 2 * ffn, 3, 5.0);
  both[0] = 90;
  both[1] = -90;
  std::vector<float> expected(static_cast<size_t>(rows * ffn));
  kernels::ref::silu_mul(
      {both.data(), 2 * ffn, both.data() + ffn, 2 * ffn, rows, ffn, expected.data()});
  OnGpu<float> x(both), y(expected);
  kernels::silu_mul(test::gpu_context(),
                    {x.data(), 2 * ffn, x.data() + ffn, 2 * ffn, rows, ffn, y.data()});
  const auto got = y.back();
  for (size_t i = 0; i < got.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i) / ffn, column = static_cast<int64_t>(i) % ffn;
    const double up = both[static_cast<size_t>(row * 2 * ffn + ffn + column)];
    // The bound of silu_mul.hpp; expf is within 2 ulp on the GPU.
    const double bound = 10 * half_ulp * std::fabs(expected[i]) + 3e-37 * std::fabs(up);
    allowed.check(got[i], expected[i], bound, std::to_string(i));
  }
}

TEST(ResidualGpu, Adds) {
  QSWEEP_NEEDS_GPU();
  const auto x = random_values(777, 4);
  auto expected = random_values(777, 5);
  OnGpu<float> gx(x), gh(expected);
  kernels::residual_add(test::gpu_context(), gx.data(), gh.data(), 777);
  kernels::ref::residual_add(x.data(), expected.data(), 777);
  EXPECT_EQ(gh.back(), expected);
}

TEST(EmbeddingGpu, Gathers) {
  QSWEEP_NEEDS_GPU();
  for (const int64_t hidden : {6, 1300}) {
    const auto values = random_values(11 * hidden, 6);
    const auto w =
        quant::pack_raw(quant::FormatId::fp32, std::as_bytes(std::span(values)), 11, hidden);
    const auto on_gpu = test::copy_on_gpu(w);
    const std::vector<int32_t> tokens = {10, 0, 3, 3};
    std::vector<float> expected(static_cast<size_t>(4 * hidden));
    kernels::ref::embedding({&w, tokens.data(), 4, expected.data()});
    OnGpu<int32_t> ids(tokens);
    OnGpu<float> y(std::vector<float>(expected.size(), -77.0f));
    kernels::embedding(test::gpu_context(), {&on_gpu, ids.data(), 4, y.data()});
    EXPECT_EQ(y.back(), expected);
  }
}

// Values in a cache of either type, read back as floats.
std::vector<float> cache_values(const OnGpu<std::byte>& cache, CacheType type) {
  const std::vector<std::byte> bytes = cache.back();
  std::vector<float> values(bytes.size() / static_cast<size_t>(kernels::cache_element_bytes(type)));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == CacheType::fp32) {
      std::memcpy(&values[i], bytes.data() + 4 * i, 4);
    } else {
      uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * i, 2);
      values[i] = bf16_to_float(bits);
    }
  }
  return values;
}

// place_heads() of the GPU against rmsnorm, rope and append of the CPU.
TEST(HeadsGpu, PlaceEqualsTheOpsOneByOne) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("heads");
  for (const int64_t dim : {2, 10, 64, 96}) {
    for (const bool normed : {false, true}) {
      for (const bool position_on_gpu : {false, true}) {
        const int64_t rows = 3, heads = 5, kv = 2, first = 7, capacity = 12, half = dim / 2;
        const int64_t width = (heads + 2 * kv) * dim;
        const auto frequencies = kernels::rope_frequencies(10000, dim);
        std::vector<float> cos(static_cast<size_t>(rows * half)), sin(cos);
        kernels::rope_table({}, {frequencies.data(), 1, first, rows, half, cos.data(), sin.data()});
        auto qkv = random_values(rows * width, 8);
        const auto before = qkv, norm = random_values(dim, 9);
        std::vector<std::byte> keys(static_cast<size_t>(kv * capacity * dim * 4)), values(keys);
        OnGpu<float> gqkv(qkv), gcos(cos), gsin(sin), gnorm(norm);
        OnGpu<std::byte> gkeys(keys), gvalues(values);
        OnGpu<int32_t> position({static_cast<int32_t>(first)});
        const auto view = [&](void* data) {
          return kernels::CacheView{data, CacheType::fp32, kv, capacity, dim};
        };
        const float* weights = normed ? norm.data() : nullptr;
        kernels::place_heads({}, {qkv.data(), width, rows, heads, first, weights, weights, 1e-6,
                                  cos.data(), sin.data(), view(keys.data()), view(values.data())});
        weights = normed ? gnorm.data() : nullptr;
        kernels::place_heads(test::gpu_context(),
                             {gqkv.data(), width, rows, heads, position_on_gpu ? 0 : first, weights,
                              weights, 1e-6, gcos.data(), gsin.data(), view(gkeys.data()),
                              view(gvalues.data()), position_on_gpu ? position.data() : nullptr});
        // Both in fp32: the bounds of rmsnorm and rope, values up to 4 times weights up to 4.
        const double bound = (static_cast<double>(dim) / 8 + 20) * half_ulp * 2 * 16;
        const auto got = gqkv.back();
        for (int64_t i = 0; i < rows * width; ++i) {
          if (i % width >= heads * dim) continue;  // keys and values went to the cache
          allowed.check(got[static_cast<size_t>(i)], qkv[static_cast<size_t>(i)], bound, "q");
        }
        const auto got_keys = cache_values(gkeys, CacheType::fp32);
        for (size_t i = 0; i < got_keys.size(); ++i) {
          float expected = 0;
          std::memcpy(&expected, keys.data() + 4 * i, 4);
          allowed.check(got_keys[i], expected, bound, "k");
        }
        EXPECT_EQ(gvalues.back(), values);
      }
    }
  }
}

TEST(RopeGpu, MatchesReference) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("rope");
  for (const int64_t dim : {2, 6, 64, 96}) {
    const auto frequencies = kernels::rope_frequencies(10000, dim);
    const int64_t rows = 5, heads = 3, half = dim / 2;
    std::vector<float> cos(static_cast<size_t>(rows * half)), sin(cos);
    kernels::ref::rope_table({frequencies.data(), 1.19, 1000, rows, half, cos.data(), sin.data()});
    OnGpu<float> f(frequencies), gcos(cos), gsin(cos);
    const auto context = test::gpu_context();
    kernels::rope_table(context, {f.data(), 1.19, 1000, rows, half, gcos.data(), gsin.data()});
    const auto got_cos = gcos.back(), got_sin = gsin.back();
    for (size_t i = 0; i < cos.size(); ++i) {
      allowed.check(got_cos[i], cos[i], 6 * half_ulp, "cos");  // sinf and cosf within 2 ulp
      allowed.check(got_sin[i], sin[i], 6 * half_ulp, "sin");
    }
    auto expected = random_values(rows * heads * dim, 8);
    const auto before = expected;
    OnGpu<float> x(expected), table_cos(cos), table_sin(sin);
    kernels::rope(context,
                  {x.data(), heads * dim, rows, heads, dim, table_cos.data(), table_sin.data()});
    kernels::ref::rope({expected.data(), heads * dim, rows, heads, dim, cos.data(), sin.data()});
    const auto got = x.back();
    for (int64_t i = 0; i < static_cast<int64_t>(got.size()); ++i) {
      const int64_t in_head = i % dim, partner = in_head < half ? i + half : i - half;
      const double size = 1.19 * (std::fabs(before[static_cast<size_t>(i)]) +
                                  std::fabs(before[static_cast<size_t>(partner)]));
      allowed.check(got[static_cast<size_t>(i)], expected[static_cast<size_t>(i)],
                    4 * half_ulp * size, std::to_string(i));
    }
  }
}

struct Shape {
  int64_t rows, first, heads, kv_heads, dim;
};

struct AttentionCase {
  Shape s;
  int64_t capacity;
  CacheType type;
  std::vector<float> q, k, v;
  std::vector<std::byte> keys, values;  // unread positions are NaN or huge: reading one shows

  AttentionCase(Shape shape, CacheType t)
      : s(shape),
        capacity(shape.first + shape.rows + 150),
        type(t),
        q(random_values(s.rows * s.heads * s.dim, 21)),
        k(random_values((s.first + s.rows) * s.kv_heads * s.dim, 22)),
        v(random_values((s.first + s.rows) * s.kv_heads * s.dim, 23)) {
    if (type == CacheType::bf16) q = test::rounded_to_bf16(q);
    const auto bytes = s.kv_heads * capacity * s.dim * kernels::cache_element_bytes(t);
    keys.assign(static_cast<size_t>(bytes), std::byte{0x7F});
    values = keys;
    kernels::cache_append({},
                          {k.data(), s.kv_heads * s.dim, s.first + s.rows, 0, view(keys.data())});
    kernels::cache_append({},
                          {v.data(), s.kv_heads * s.dim, s.first + s.rows, 0, view(values.data())});
  }
  kernels::CacheView view(void* data) const { return {data, type, s.kv_heads, capacity, s.dim}; }

  std::vector<float> reference() {
    std::vector<float> y(q.size());
    kernels::ref::attention({q.data(), s.heads * s.dim, s.rows, s.heads, s.first, view(keys.data()),
                             view(values.data()), y.data(), s.heads * s.dim});
    return y;
  }
  std::vector<float> on_gpu() {
    OnGpu<float> gq(q), y(std::vector<float>(q.size(), -77.0f));
    OnGpu<std::byte> gkeys(keys), gvalues(values);
    kernels::attention(test::gpu_context(),
                       {gq.data(), s.heads * s.dim, s.rows, s.heads, s.first, view(gkeys.data()),
                        view(gvalues.data()), y.data(), s.heads * s.dim});
    return y.back();
  }
};

TEST(AttentionGpu, MatchesReference) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("attention");
  for (const auto type : {CacheType::fp32, CacheType::bf16}) {
    for (const Shape& shape :
         {Shape{1, 0, 1, 1, 2}, Shape{1, 40, 4, 2, 64}, Shape{1, 299, 6, 2, 96},
          Shape{1, 130, 2, 1, 128}, Shape{1, 127, 3, 3, 32}, Shape{1, 256, 2, 2, 10},
          Shape{1, 70, 2, 1, 256}, Shape{19, 0, 4, 1, 96}, Shape{7, 33, 6, 3, 10},
          Shape{3, 5, 4, 4, 64}}) {
      AttentionCase c(shape, type);
      const auto expected = c.reference();
      // The bound of attention.hpp; scores of these inputs stay below 6, values below 4. Products
      // with a bf16 cache round the probabilities, whose sum is 1.
      double bound = (static_cast<double>(shape.first + shape.rows) +
                      static_cast<double>(shape.dim) / 8.0 + 24) *
                     half_ulp * 7 * 4;
      if (type == CacheType::bf16) bound += test::bf16_half_ulp * 4;
      const auto got = c.on_gpu();
      for (size_t i = 0; i < got.size(); ++i) {
        allowed.check(got[i], expected[i], bound, std::to_string(shape.dim));
      }
    }
  }
}

TEST(LogitsGpu, ArgmaxIsTheFirstOfTheLargest) {
  QSWEEP_NEEDS_GPU();
  constexpr int64_t cols = 5000;
  auto x = random_values(4 * cols, 31);
  x[100] = x[4000] = 50;  // equals: the first
  x[cols + 7] = NAN;      // never
  for (int64_t i = 0; i < cols; ++i) x[static_cast<size_t>(2 * cols + i)] = NAN;  // then 0
  x[4 * cols - 1] = 60;
  OnGpu<float> gx(x);
  OnGpu<int32_t> best(std::vector<int32_t>(4, -1)), position({41}), choices({-1, -1});
  kernels::argmax_rows(test::gpu_context(), gx.data(), 4, cols, best.data(),
                       {position.data(), choices.data()});
  const auto got = best.back();
  for (int64_t r = 0; r < 4; ++r) {
    EXPECT_EQ(got[static_cast<size_t>(r)],
              kernels::argmax({x.data() + r * cols, static_cast<size_t>(cols)}))
        << r;
  }
  EXPECT_EQ(got[0], 100);
  EXPECT_EQ(position.back()[0], 42);
  EXPECT_EQ(choices.back(), (std::vector<int32_t>{-1, 100}));
}

// Rows of every share of a cluster's blocks: some without elements, some with several turns.
TEST(LogitsGpu, ArgmaxOfAnyLength) {
  QSWEEP_NEEDS_GPU();
  for (const int64_t cols : {1, 2, 7, 9, 1000, 8191, 32'064, 128'256, 151'937}) {
    const int64_t rows = 3;
    auto x = random_values(rows * cols, 33);
    x[static_cast<size_t>(cols / 2)] = x[static_cast<size_t>(cols - 1)] = 9;
    for (int64_t i = 0; i < cols; ++i) x[static_cast<size_t>(cols + i)] = -INFINITY;
    x[static_cast<size_t>(3 * cols - 1)] = 9;
    OnGpu<float> gx(x);
    OnGpu<int32_t> best(std::vector<int32_t>(rows, -1));
    kernels::argmax_rows(test::gpu_context(), gx.data(), rows, cols, best.data());
    const auto got = best.back();
    for (int64_t r = 0; r < rows; ++r) {
      EXPECT_EQ(got[static_cast<size_t>(r)],
                kernels::argmax({x.data() + r * cols, static_cast<size_t>(cols)}))
          << cols << ", row " << r;
    }
  }
}

TEST(TokenScoresGpu, MatchTheHost) {
  QSWEEP_NEEDS_GPU();
  const int64_t rows = 5, vocab = 3001;
  auto q = random_values(rows * vocab, 41, 3), p = random_values(rows * vocab, 42, 3);
  const std::vector<int32_t> targets = {0, 3000, 17, 5, 1234};
  std::vector<double> expected(static_cast<size_t>(3 * rows));
  OnGpu<float> gq(q), gp(p);
  OnGpu<int32_t> ids(targets);
  OnGpu<double> out(expected);
  kernels::token_scores(test::gpu_context(),
                        {gq.data(), gp.data(), ids.data(), rows, vocab, out.data(),
                         out.data() + rows, out.data() + 2 * rows});
  kernels::token_scores({}, {q.data(), p.data(), targets.data(), rows, vocab, expected.data(),
                             expected.data() + rows, expected.data() + 2 * rows});
  const auto got = out.back();
  test::Allowance allowed("token scores");
  for (size_t i = 0; i < got.size(); ++i) {
    // Log-probabilities of at most 20 are rounded to fp32 on both sides, expf differs by 2 ulp.
    allowed.check(got[i], expected[i], 20 * 8 * half_ulp, std::to_string(i));
  }
}

}  // namespace
}  // namespace qsweep
