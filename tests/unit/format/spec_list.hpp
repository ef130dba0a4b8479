// Every weight format x scale codec x group the library knows, derived from its lists: a new format
// or codec is tested without touching a test.
#pragma once

#include <random>
#include <vector>

#include "quant/format/scales.hpp"

namespace qsweep::quant {

template <class... F>
std::vector<FormatId> ids_of(format::TypeList<F...>) {
  return {F::id...};
}
template <class... C>
std::vector<ScaleCodecId> codec_ids_of(format::TypeList<C...>) {
  return {C::id...};
}

inline std::vector<ScaleCodec> all_codecs() {
  std::vector<ScaleCodec> codecs;
  for (const ScaleCodecId id : codec_ids_of(format::Scales{})) {
    if (id != ScaleCodecId::e5m) {
      codecs.push_back({.id = id, .mantissa_bits = 0, .sign_bit = true, .rounding = {}});
      continue;
    }
    for (int mantissa = 0; mantissa <= format::ScaleE5m::max_mantissa_bits; ++mantissa) {
      for (const bool sign : {true, false}) {
        for (const auto& [rounding, name] : enum_names<ScaleRounding>) {
          codecs.push_back({id, mantissa, sign, rounding});
        }
      }
    }
  }
  return codecs;
}

// Specs without a spec_problem.
inline std::vector<FormatSpec> all_specs(const std::vector<int64_t>& groups = {
                                             per_channel, per_tensor, 128, 64, 7, 1}) {
  std::vector<FormatSpec> specs;
  for (const FormatId id : ids_of(format::Formats{})) {
    if (!has_scales(id)) {
      FormatSpec spec;
      spec.id = id;
      specs.push_back(spec);
      continue;
    }
    for (const int64_t group : groups) {
      for (const bool symmetric : {true, false}) {
        for (const ScaleCodec& codec : all_codecs()) {
          const FormatSpec spec{id, group, symmetric, codec};
          if (spec_problem(spec).empty()) specs.push_back(spec);
        }
      }
    }
  }
  return specs;
}

inline std::vector<float> gaussian(int64_t n, uint32_t seed, float sigma = 0.02f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

}  // namespace qsweep::quant
