// Seeded numbers for the kernel tests, and the comparison that says how much of its allowance was
// used.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/rng.hpp"

namespace qsweep::test {

// Sum of four uniforms, centred: bell-shaped, variance `scale`^2.
inline std::vector<float> random_values(int64_t n, uint64_t seed, double scale = 1) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) {
    const double sum = rng.uniform() + rng.uniform() + rng.uniform() + rng.uniform() - 2;
    value = static_cast<float>(sum * scale * std::sqrt(3.0));
  }
  return values;
}

inline constexpr double half_ulp = 0x1p-24;  // relative rounding error of one fp32 operation

// Largest |got - expected| / allowance; fails above 1. One line per test says how close it came.
class Allowance {
 public:
  explicit Allowance(std::string what) : what_(std::move(what)) {}
  ~Allowance() {
    std::printf("  %s: %.1f %% of the allowance used, %lld values\n", what_.c_str(), 100 * worst_,
                static_cast<long long>(count_));
    EXPECT_GT(count_, 0) << what_ << " compared nothing";
  }
  void check(double got, double expected, double allowance, const std::string& where) {
    ++count_;
    const double used = std::fabs(got - expected) / std::max(allowance, 1e-300);
    if (std::isfinite(used)) worst_ = std::max(worst_, used);
    if (!(used <= 1) && failures_++ < 5) {
      ADD_FAILURE() << what_ << " at " << where << ": got " << got << ", expected " << expected
                    << ", allowed error " << allowance;
    }
  }

 private:
  std::string what_;
  double worst_ = 0;
  int64_t count_ = 0;
  int failures_ = 0;
};

}  // namespace qsweep::test
