// The one list of scale codecs, and readers that decode the scale and zero point of a group from
// packed bytes.
#pragma once

#include <concepts>
#include <span>
#include <variant>

#include "quant/format/formats.hpp"
#include "quant/format/scale_dq8.hpp"
#include "quant/format/scale_e5m.hpp"
#include "quant/format/scale_raw.hpp"

namespace qsweep::quant::format {

// encode writes bytes(codec, n) bytes for n scales; reader(codec, data, n)(i) decodes scale i.
// `codes_follow_exact`: weight codes are chosen against the exact scale, otherwise against the
// decoded one.
template <class C>
concept ScaleFormat = requires(const ScaleCodec& codec, std::span<const float> scales, uint8_t* out,
                               const typename C::Reader& reader, int64_t i) {
  { C::id } -> std::convertible_to<ScaleCodecId>;
  { C::codes_follow_exact } -> std::convertible_to<bool>;
  { C::bits(codec) } -> std::same_as<int>;
  { C::bytes(codec, i) } -> std::same_as<uint64_t>;
  {C::encode(codec, scales, out)};
  { C::reader(codec, out, i) } -> std::same_as<typename C::Reader>;
  { reader(i) } -> std::same_as<float>;
};

template <ScaleFormat... C>
using ScaleTypes = TypeList<C...>;
using Scales = ScaleTypes<ScaleFp32, ScaleFp16, ScaleBf16, ScaleE5m, ScaleDq8>;

template <class Function>
auto visit_scale(ScaleCodecId id, Function&& f) {
  return visit_list(Scales{}, id, std::forward<Function>(f));
}

template <class... C>
std::variant<typename C::Reader...> reader_variant(TypeList<C...>);

// Decodes the scale of any group of a matrix; the codec is looked up at each call, which is cheap
// once a group. Loops that want it resolved outside use visit_scale and the codec's own Reader,
// which also serve device code.
class ScaleReader {
 public:
  explicit ScaleReader(const PackedMatrix& matrix);
  // scale_index: Groups::index (groups.hpp)
  float operator()(int64_t scale_index) const {
    return std::visit([&](const auto& reader) { return reader(scale_index); }, reader_);
  }

 private:
  decltype(reader_variant(Scales{})) reader_;
};

}  // namespace qsweep::quant::format
