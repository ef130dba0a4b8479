#include <cmath>
#include <numbers>

#include "base/error.hpp"
#include "kernels/rope/rope.hpp"

namespace qsweep::kernels {
namespace {

double frequency(double theta, int64_t i, int64_t head_dim) {
  return std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
}

double llama3_frequency(double plain, const Llama3Scaling& scaling) {
  const double wavelength = 2 * std::numbers::pi / plain;
  const auto original = static_cast<double>(scaling.original_max_positions);
  if (wavelength > original / scaling.low_freq_factor) return plain / scaling.factor;
  if (wavelength < original / scaling.high_freq_factor) return plain;
  const double blend = (original / wavelength - scaling.low_freq_factor) /
                       (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - blend) * plain / scaling.factor + blend * plain;
}

}  // namespace

std::vector<float> rope_frequencies(double theta, int64_t head_dim) {
  std::vector<float> result;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    result.push_back(static_cast<float>(frequency(theta, i, head_dim)));
  }
  return result;
}

std::vector<float> rope_frequencies_llama3(double theta, int64_t head_dim,
                                           const Llama3Scaling& scaling) {
  std::vector<float> result;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    result.push_back(static_cast<float>(llama3_frequency(frequency(theta, i, head_dim), scaling)));
  }
  return result;
}

std::vector<float> rope_frequencies_longrope(double theta, int64_t head_dim,
                                             std::span<const double> factors) {
  expect(static_cast<int64_t>(factors.size()) == head_dim / 2, "one longrope factor a frequency");
  std::vector<float> result;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double factor = factors[static_cast<size_t>(i)];
    result.push_back(static_cast<float>(frequency(theta, i, head_dim) / factor));
  }
  return result;
}

}  // namespace qsweep::kernels
