// The inner loops of every instruction set that this CPU runs, at lengths around their vector
// widths.
#include "kernels/simd/row_ops.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "base/half.hpp"
#include "unit/kernels/numbers.hpp"

namespace qsweep {
namespace {

using kernels::GroupedRow;
using kernels::RowOps;

const std::vector<int64_t> lengths = {1, 7, 8, 15, 16, 31, 33, 64, 96, 127, 224, 260};

double allowed(double magnitude, int64_t n) {
  return (static_cast<double>(n) + 8) * test::half_ulp * magnitude;
}

TEST(RowOps, PlainDots) {
  for (const RowOps* ops : kernels::all_row_ops()) {
    test::Allowance allowance(std::string(ops->isa) + " plain dots");
    for (const int64_t n : lengths) {
      const auto a = test::random_values(n, 1), x = test::random_values(n, 2);
      std::vector<uint16_t> bf16(a.size()), fp16(a.size());
      double exact[3] = {}, magnitude = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        bf16[i] = float_to_bf16(a[i]);
        fp16[i] = float_to_fp16(a[i]);
        exact[0] += static_cast<double>(a[i]) * x[i];
        exact[1] += static_cast<double>(bf16_to_float(bf16[i])) * x[i];
        exact[2] += static_cast<double>(fp16_to_float(fp16[i])) * x[i];
        magnitude += 1.01 * std::fabs(static_cast<double>(a[i]) * x[i]);
      }
      const std::string where = std::to_string(n);
      allowance.check(ops->dot_fp32(a.data(), x.data(), n), exact[0], allowed(magnitude, n), where);
      allowance.check(ops->dot_bf16(bf16.data(), x.data(), n), exact[1], allowed(magnitude, n),
                      where);
      allowance.check(ops->dot_fp16(fp16.data(), x.data(), n), exact[2], allowed(magnitude, n),
                      where);
    }
  }
}

TEST(RowOps, DotsAndWeighedSumsOfRows) {
  for (const RowOps* ops : kernels::all_row_ops()) {
    test::Allowance allowance(std::string(ops->isa) + " rows");
    for (const int64_t n : lengths) {
      for (const int64_t count : {1, 2, 4, 7}) {
        const auto rows = test::random_values(count * n, 3), x = test::random_values(n, 4),
                   p = test::random_values(count, 5), y = test::random_values(n, 6);
        std::vector<uint16_t> bf16(rows.size());
        for (size_t i = 0; i < rows.size(); ++i) bf16[i] = float_to_bf16(rows[i]);
        for (const bool half : {false, true}) {
          const auto at = [&](int64_t t, int64_t i) -> double {
            const auto index = static_cast<size_t>(t * n + i);
            return half ? bf16_to_float(bf16[index]) : rows[index];
          };
          std::vector<float> dots(static_cast<size_t>(count)), sums = y;
          if (half) {
            ops->dots_bf16(bf16.data(), count, x.data(), n, 0.5f, dots.data());
            ops->weigh_bf16(p.data(), bf16.data(), count, sums.data(), n);
          } else {
            ops->dots_fp32(rows.data(), count, x.data(), n, 0.5f, dots.data());
            ops->weigh_fp32(p.data(), rows.data(), count, sums.data(), n);
          }
          for (int64_t t = 0; t < count; ++t) {
            double exact = 0, magnitude = 0;
            for (int64_t i = 0; i < n; ++i) {
              exact += 0.5 * at(t, i) * x[static_cast<size_t>(i)];
              magnitude += std::fabs(0.5 * at(t, i) * x[static_cast<size_t>(i)]);
            }
            allowance.check(dots[static_cast<size_t>(t)], exact, allowed(magnitude, n), "dot");
          }
          for (int64_t i = 0; i < n; ++i) {
            double exact = y[static_cast<size_t>(i)], magnitude = std::fabs(exact);
            for (int64_t t = 0; t < count; ++t) {
              exact += p[static_cast<size_t>(t)] * at(t, i);
              magnitude += std::fabs(p[static_cast<size_t>(t)] * at(t, i));
            }
            const double bound = static_cast<double>(count + 2) * test::half_ulp * magnitude;
            allowance.check(sums[static_cast<size_t>(i)], exact, bound, "weighed sum");
          }
        }
      }
    }
  }
}

// The bounds of row_ops.hpp. 4096 steps a unit from 0 down to below the cut, in rows of every
// length.
TEST(RowOps, ExpFromMax) {
  for (const RowOps* ops : kernels::all_row_ops()) {
    test::Allowance allowance(std::string(ops->isa) + " exp");
    for (const int64_t n : {int64_t{1}, int64_t{5}, int64_t{16}, int64_t{37}, int64_t{90 * 4096}}) {
      std::vector<float> x(static_cast<size_t>(n));
      for (size_t i = 0; i < x.size(); ++i) x[i] = 3.0f - static_cast<float>(i) / 4096;
      auto got = x;
      const double total = ops->exp_from_max(got.data(), n);
      double sum = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double shifted = static_cast<double>(x[i]) - 3, exact = std::exp(shifted);
        sum += got[i];
        if (shifted < -86.5) {
          EXPECT_EQ(got[i], 0) << ops->isa << " at " << shifted;
        } else {
          allowance.check(got[i], exact, 6 * test::half_ulp * exact, std::to_string(shifted));
        }
      }
      allowance.check(total, sum, 24 * test::half_ulp * sum, "sum of " + std::to_string(n));
    }
    std::vector<float> broken = {1, std::numeric_limits<float>::quiet_NaN(), 2};
    EXPECT_TRUE(std::isnan(ops->exp_from_max(broken.data(), 3))) << ops->isa;
  }
}

TEST(RowOps, Silu) {
  for (const RowOps* ops : kernels::all_row_ops()) {
    test::Allowance allowance(std::string(ops->isa) + " silu");
    for (const int64_t n : {int64_t{1}, int64_t{17}, int64_t{200 * 512}}) {
      std::vector<float> x(static_cast<size_t>(n)), y(x.size());
      for (size_t i = 0; i < x.size(); ++i) x[i] = 100.0f - static_cast<float>(i) / 512;
      ops->silu(x.data(), y.data(), n);
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = x[i] / (1 + std::exp(-static_cast<double>(x[i])));
        if (x[i] < -86.5f) {
          EXPECT_EQ(y[i], 0) << ops->isa << " at " << x[i];
        } else {
          allowance.check(y[i], exact, 10 * test::half_ulp * std::fabs(exact),
                          std::to_string(x[i]));
        }
      }
    }
    float broken = std::numeric_limits<float>::quiet_NaN();
    ops->silu(&broken, &broken, 1);
    EXPECT_TRUE(std::isnan(broken)) << ops->isa;
  }
}

// Level of code i of a grouped row by the plainest reading of GroupedRow's contract.
double level(const GroupedRow& row, int64_t i, int kind) {
  const double zero = row.zeros == nullptr ? 0 : row.zeros[(row.head + i) / row.group];
  if (kind == 8)
    return row.zeros == nullptr ? static_cast<int8_t>(row.codes[i]) : row.codes[i] - zero;
  if (kind == 80) return fp8_e4m3_to_float(row.codes[i]);
  const int64_t at = row.first + i;
  const int low = row.codes[at / 2] & 15, high = row.codes[at / 2] >> 4;
  const bool is_even = at % 2 == 0;
  return row.levels[is_even == row.high_first ? high : low] - zero;
}

void check_grouped(const RowOps& ops, int kind, GroupedRow row, const std::vector<float>& x,
                   test::Allowance& allowance) {
  double exact = 0, magnitude = 0;
  for (int64_t i = 0; i < row.n; ++i) {
    const double term =
        level(row, i, kind) * row.scales[(row.head + i) / row.group] * x[static_cast<size_t>(i)];
    exact += term;
    magnitude += std::fabs(term);
  }
  const auto dot = kind == 8 ? ops.dot_int8 : kind == 80 ? ops.dot_fp8_e4m3 : ops.dot_4bit;
  const std::string where =
      std::to_string(row.n) + " codes in groups of " + std::to_string(row.group);
  allowance.check(dot(row, x.data()), exact, allowed(magnitude, row.n) + 1e-12, where);
  const auto splits = [&](int64_t value) { return value % ops.split_block == 0; };
  if (kind != 4 || !splits(row.n) || !splits(row.group) || !splits(row.head) || !splits(row.first))
    return;
  std::vector<float> split(static_cast<size_t>(row.n));
  ops.split_pairs(x.data(), row.n, row.high_first, split.data());
  allowance.check(ops.dot_4bit_split(row, split.data()), exact, allowed(magnitude, row.n) + 1e-12,
                  where + ", split");
}

TEST(RowOps, GroupedDots) {
  Rng rng(5);
  std::vector<uint8_t> codes(400);
  for (uint8_t& code : codes) {
    do code = static_cast<uint8_t>(rng.next());
    while ((code & 0x7F) == 0x7F);  // NaN in fp8, which encoders never write
  }
  const auto scales = test::random_values(400, 6), x = test::random_values(300, 8),
             levels = test::random_values(16, 9);
  std::vector<float> zeros(400);
  for (float& zero : zeros) zero = static_cast<float>(rng.below(16));
  for (const RowOps* ops : kernels::all_row_ops()) {
    test::Allowance allowance(std::string(ops->isa) + " grouped dots");
    for (const int64_t n : lengths) {
      for (const int64_t group : {int64_t{3}, int64_t{32}, int64_t{64}, int64_t{128}, n}) {
        for (const bool asymmetric : {false, true}) {
          GroupedRow row{
              codes.data(), 0, n, group, 0, scales.data(), asymmetric ? zeros.data() : nullptr};
          check_grouped(*ops, 8, row, x, allowance);
          if (!asymmetric) check_grouped(*ops, 80, row, x, allowance);
          row.levels = levels.data();
          for (const int64_t first : {int64_t{0}, int64_t{5}, int64_t{34}, int64_t{96}}) {
            row.first = first;
            row.head = first % group;
            for (const bool high_first : {false, true}) {
              row.high_first = high_first;
              check_grouped(*ops, 4, row, x, allowance);
            }
          }
        }
      }
    }
  }
}

TEST(RowOps, EveryFp8CodeIsExact) {
  const float scale = 1;
  for (const RowOps* ops : kernels::all_row_ops()) {
    for (int code = 0; code < 256; ++code) {
      if ((code & 0x7F) == 0x7F) continue;
      std::vector<uint8_t> codes(32, static_cast<uint8_t>(code));
      std::vector<float> x(32, 0.0f);
      x[5] = 1;
      const GroupedRow row{codes.data(), 0, 32, 32, 0, &scale};
      EXPECT_EQ(ops->dot_fp8_e4m3(row, x.data()), fp8_e4m3_to_float(static_cast<uint8_t>(code)))
          << ops->isa << code;
    }
  }
}

}  // namespace
}  // namespace qsweep
