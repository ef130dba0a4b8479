// Goldens of tests/goldens/reduce, and comparison to 1e-9.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace qsweep::reduce::test {

inline nlohmann::json golden(const std::string& name) {
  std::ifstream file(std::string(QSWEEP_SOURCE_DIR) + "/tests/goldens/reduce/" + name);
  EXPECT_TRUE(file.good()) << name;
  return nlohmann::json::parse(file);
}

inline double number(const nlohmann::json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

inline std::vector<double> numbers(const nlohmann::json& values) {
  std::vector<double> out;
  for (const auto& value : values) out.push_back(number(value));
  return out;
}

// 1e-9 relative: both sides evaluate the same formulas in double, so they differ by rounding (some
// 1e-15 per step, amplified by up to 1e3 in a tail) and by the accuracy of the distribution
// functions (some 1e-13). p-values below 1e-21 move by more than that with the rounding of t
// itself, and are compared to 1e-30.
inline void expect_close(double found, double expected, const std::string& what) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found)) << what << ": " << found;
    return;
  }
  const double scale = std::max(std::abs(expected), 1e-21);
  EXPECT_LE(std::abs(found - expected), 1e-9 * scale)
      << what << ": " << found << " against " << expected;
}

}  // namespace qsweep::reduce::test
