// Every weight format with every scale codec and several group sizes, from the lists of formats and
// codecs; and matrices in them.
#pragma once

#include <vector>

#include "quant/format/formats.hpp"
#include "quant/format/scales.hpp"
#include "unit/kernels/numbers.hpp"

namespace qsweep::test {

template <class... C>
std::vector<quant::ScaleCodec> all_codecs(quant::format::TypeList<C...>) {
  std::vector<quant::ScaleCodec> codecs;
  for (const quant::ScaleCodecId id : {C::id...}) {
    if (id == quant::ScaleCodecId::e5m) {
      for (const int bits : {0, 3, 5, 10}) codecs.push_back({id, bits, bits != 3});
    } else {
      codecs.push_back({id});
    }
  }
  return codecs;
}

inline std::vector<quant::FormatSpec> all_specs() {
  std::vector<quant::FormatSpec> specs;
  for (const auto& [id, name] : enum_names<quant::FormatId>) {
    if (!quant::has_scales(id)) {
      specs.push_back({id});
      continue;
    }
    for (const int64_t group :
         {int64_t{32}, int64_t{64}, int64_t{128}, quant::per_channel, quant::per_tensor}) {
      for (const bool symmetric : {true, false}) {
        for (const quant::ScaleCodec& codec : all_codecs(quant::format::Scales{})) {
          specs.push_back({id, group, symmetric, codec});
        }
      }
    }
  }
  return specs;
}

// Small random weights [out, in]; other ones for another `in`.
inline quant::PackedMatrix packed(const quant::FormatSpec& spec, int64_t out, int64_t in) {
  return quant::quantize_rtn(spec, random_values(out * in, 7 + static_cast<uint64_t>(in), 0.02),
                             out, in);
}

}  // namespace qsweep::test
