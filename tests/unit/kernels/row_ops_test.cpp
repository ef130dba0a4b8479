// The inner loops of every instruction set that this CPU runs, at lengths around their vector
// widths.
#include "kernels/simd/row_ops.hpp"

#include <gtest/gtest.h>

#include "base/half.hpp"
#include "unit/kernels/numbers.hpp"

namespace qsweep {
namespace {

using kernels::GroupedRow;
using kernels::RowOps;

const std::vector<int64_t> lengths = {1, 7, 8, 15, 16, 31, 33, 64, 96, 127, 260};

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

TEST(RowOps, Axpy) {
  for (const RowOps* ops : kernels::all_row_ops()) {
    for (const int64_t n : lengths) {
      const auto x = test::random_values(n, 3), y = test::random_values(n, 4);
      std::vector<uint16_t> bf16(x.size());
      for (size_t i = 0; i < x.size(); ++i) bf16[i] = float_to_bf16(x[i]);
      auto plain = y, half = y;
      ops->axpy_fp32(0.37f, x.data(), plain.data(), n);
      ops->axpy_bf16(0.37f, bf16.data(), half.data(), n);
      for (size_t i = 0; i < x.size(); ++i) {
        // Fused or not: at most two roundings.
        EXPECT_NEAR(plain[i], y[i] + 0.37f * static_cast<double>(x[i]), 4e-7) << ops->isa;
        EXPECT_NEAR(half[i], y[i] + 0.37f * static_cast<double>(bf16_to_float(bf16[i])), 4e-7);
      }
    }
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
  allowance.check(dot(row, x.data()), exact, allowed(magnitude, row.n) + 1e-12,
                  std::to_string(row.n) + " codes in groups of " + std::to_string(row.group));
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
          for (const int64_t first : {int64_t{0}, int64_t{5}, int64_t{34}}) {
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
