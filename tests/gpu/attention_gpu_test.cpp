// Attention of many rows with a bf16 cache on the GPU, `attention/prefill_flash`, against the
// reference; what it leaves to `attention/prefill_cublas` is in ops_gpu_test.cpp.
#include "kernels/attention/attention.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "gpu/on_gpu.hpp"

namespace qsweep {
namespace {

using device::Compute;
using kernels::CacheType;
using kernels::CacheView;
using test::half_ulp;
using test::OnGpu;
using test::random_values;

constexpr float untouched = -77;

struct Shape {
  int64_t rows, first, kv_heads, group, dim;
  double q_scale = 1;
};

std::vector<uint16_t> random_cache(const Shape& s, int64_t capacity, uint64_t seed) {
  // Positions that nobody may read are NaN: one product with them shows.
  std::vector<uint16_t> cache(static_cast<size_t>(s.kv_heads * capacity * s.dim), 0xFFFF);
  const int64_t used = (s.first + s.rows) * s.dim;
  const auto values = random_values(s.kv_heads * used, seed);
  for (int64_t h = 0; h < s.kv_heads; ++h) {
    for (int64_t i = 0; i < used; ++i) {
      cache[static_cast<size_t>(h * capacity * s.dim + i)] =
          float_to_bf16(values[static_cast<size_t>(h * used + i)]);
    }
  }
  return cache;
}

// Both pass over NaN, which nothing that is used has.
double largest_of(const std::vector<uint16_t>& cache) {
  double largest = 0;
  for (const uint16_t bits : cache) largest = std::fmax(largest, std::fabs(bf16_to_float(bits)));
  return largest;
}
double largest_norm(const std::vector<float>& x, int64_t dim) {
  double largest = 0;
  for (size_t i = 0; i + static_cast<size_t>(dim) <= x.size(); i += static_cast<size_t>(dim)) {
    double squares = 0;
    for (size_t k = i; k < i + static_cast<size_t>(dim); ++k) squares += double{x[k]} * x[k];
    largest = std::fmax(largest, std::sqrt(squares));
  }
  return largest;
}

struct Case {
  Shape s;
  int64_t heads, width, ldq, ldy, capacity;
  std::vector<uint16_t> keys, values;
  std::vector<float> q;  // NaN between the rows

  explicit Case(const Shape& shape)
      : s(shape),
        heads(s.kv_heads * s.group),
        width(heads * s.dim),
        ldq(width + 12),
        ldy(width + 6),
        capacity(s.first + s.rows + (s.first == 5 ? 0 : 150)),
        keys(random_cache(s, capacity, 51)),
        values(random_cache(s, capacity, 52)),
        q(test::rounded_to_bf16(random_values(s.rows * ldq, 53, s.q_scale))) {
    for (int64_t i = 0; i < s.rows * ldq; ++i) {
      if (i % ldq >= width) q[static_cast<size_t>(i)] = NAN;
    }
  }

  CacheView view(uint16_t* data) const {
    return {data, CacheType::bf16, s.kv_heads, capacity, s.dim};
  }
  std::vector<float> reference(std::vector<uint16_t>& v) {
    std::vector<float> y(static_cast<size_t>(s.rows * ldy), untouched);
    kernels::ref::attention(
        {q.data(), ldq, s.rows, heads, s.first, view(keys.data()), view(v.data()), y.data(), ldy});
    return y;
  }
  // At least sum |q_i k_i| / sqrt(dim) of any pair, by its norms.
  double largest_score() const {
    std::vector<float> rows, lines;
    for (int64_t i = 0; i < s.rows * ldq; ++i) {
      if (i % ldq < width) rows.push_back(q[static_cast<size_t>(i)]);
    }
    for (const uint16_t bits : keys) lines.push_back(bf16_to_float(bits));
    const auto dim = static_cast<double>(s.dim);
    return largest_norm(rows, s.dim) * largest_norm(lines, s.dim) / std::sqrt(dim);
  }
  std::vector<float> on_gpu(const device::Context& context) {
    OnGpu<float> gq(q), y(std::vector<float>(static_cast<size_t>(s.rows * ldy), untouched));
    OnGpu<uint16_t> gkeys(keys), gvalues(values);
    kernels::attention(context, {gq.data(), ldq, s.rows, heads, s.first, view(gkeys.data()),
                                 view(gvalues.data()), y.data(), ldy});
    return y.back();
  }
};

void compare(const Shape& shape, Compute compute, test::Allowance& allowed) {
  Case c(shape);
  device::KernelCalls calls;
  device::Context context = test::gpu_context(compute);
  context.calls = &calls;
  const auto expected = c.reference(c.values);
  std::vector<uint16_t> sizes = c.values;
  for (uint16_t& bits : sizes) bits &= 0x7FFF;
  const auto weighed = c.reference(sizes);  // sum_t p[t] |v[t]|
  const auto got = c.on_gpu(context);
  EXPECT_EQ(c.on_gpu(context), got);
  EXPECT_EQ(calls.calls().size(), 1u);
  EXPECT_EQ(calls.calls().at("attention/prefill_flash"), 2u);

  // The bound of attention_cuda.cuh.
  const auto n = static_cast<double>(shape.first + shape.rows),
             dim = static_cast<double>(shape.dim);
  const double fp32 =
      (4 * n + (5 * dim + 8) * c.largest_score() + 16) * half_ulp * largest_of(c.values);
  for (size_t i = 0; i < got.size(); ++i) {
    if (static_cast<int64_t>(i) % c.ldy >= c.width) {
      EXPECT_EQ(got[i], untouched) << "between the rows";
      continue;
    }
    double bound = test::bf16_half_ulp * weighed[i] + fp32;
    if (compute == Compute::bf16) {
      bound += test::bf16_half_ulp * (std::fabs(expected[i]) + bound);
      EXPECT_EQ(got[i], bf16_to_float(float_to_bf16(got[i])));
    }
    allowed.check(got[i], expected[i], bound, std::to_string(shape.dim));
  }
}

TEST(FlashGpu, MatchesReferenceAtOddSizes) {
  QSWEEP_NEEDS_GPU();
  test::Allowance plain("flash"), bf16("flash, y in bf16");
  for (const int64_t dim : {64, 96, 128}) {
    for (const int64_t rows : {1, 17, 64, 129, 300}) {
      for (const int64_t first : {0, 5, 33, 62, 130}) {  // 33, 62: one short of a tile, or one over
        compare({rows, first, 2, 1, dim}, Compute::fp32, plain);
        compare({rows, first, 1, 4, dim}, Compute::bf16, bf16);
      }
    }
  }
}

// Scores of the order of 100: the largest of a row changes from tile to tile by many powers of 2.
TEST(FlashGpu, MatchesReferenceWhereOneWeightIsNearlyAll) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("flash, large scores");
  for (const int64_t dim : {64, 96, 128}) {
    compare({200, 70, 2, 2, dim, 30}, Compute::fp32, allowed);
  }
}

TEST(FlashGpu, LeavesOtherCasesToCublas) {
  QSWEEP_NEEDS_GPU();
  for (const int64_t gap : {0, 1}) {  // a row stride that is no multiple of 4, another head_dim
    const int64_t dim = gap == 0 ? 32 : 64, rows = 9, ld = 2 * dim + gap;
    for (const auto type : {CacheType::fp32, CacheType::bf16}) {
      device::KernelCalls calls;
      device::Context context = test::gpu_context();
      context.calls = &calls;
      OnGpu<float> q(random_values(rows * ld, 61)), y(random_values(rows * ld, 62));
      OnGpu<float> cache(std::vector<float>(static_cast<size_t>(2 * rows * dim), 0.0f));
      const CacheView view{cache.data(), type, 2, rows, dim};
      kernels::attention(context, {q.data(), ld, rows, 2, 0, view, view, y.data(), ld});
      EXPECT_EQ(calls.calls().count("attention/prefill_flash"), 0u);
      EXPECT_EQ(calls.calls().at("attention/prefill_cublas"), 1u);
    }
  }
}

}  // namespace
}  // namespace qsweep
