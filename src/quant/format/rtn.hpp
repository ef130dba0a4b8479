// Round-to-nearest in scalars, for host and device: the exact scale of a group and its zero point,
// and which weights are refused. The formulas stand at quantize_rtn (format.hpp).
#pragma once

#include <cstdint>

#include "base/half.hpp"

namespace qsweep::quant::format {

// Of absmax or max - min: an all-zero group still has a scale.
inline constexpr float smallest_range = 1e-8f;
inline constexpr float largest_weight = 1e36f;

// `range`: F::range for absmax, F::max_unsigned for max - min.
QSWEEP_HD inline float exact_scale(float extent, float range) {
  return (extent < smallest_range ? smallest_range : extent) / range;
}

// Magnitudes order as their bits, and an integer maximum vectorises where a float one, which must
// care for NaN, does not; NaN and infinity come out as the largest of all.
QSWEEP_HD inline uint32_t magnitude_bits(float value) {
  return std::bit_cast<uint32_t>(value) & 0x7FFFFFFFu;
}
QSWEEP_HD inline bool is_refused(uint32_t magnitude) {
  return magnitude > std::bit_cast<uint32_t>(largest_weight);
}

// F: an integer format; low: the group's smallest weight, at most 0.
template <class F>
QSWEEP_HD uint32_t zero_point(float low, float scale) {
  return F::encode_unsigned(-low / scale, 0.0f);
}

}  // namespace qsweep::quant::format
