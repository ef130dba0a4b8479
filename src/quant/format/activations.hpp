// Formats of what enters a linear. x ~ level * scale, element by element, with the scale of its row
// of x (token: absmax / range of the row as it is) or of all rows (tensor: absmax / range of what a
// calibration saw; beyond it levels saturate). absmax is at least 1e-8. bf16 has no scale.
#pragma once

#include <string>
#include <utility>

#include "base/names.hpp"
#include "quant/format/formats.hpp"
#include "quant/format/rtn.hpp"

namespace qsweep::quant {

enum class ActivationId { none, bf16, fp8_e4m3, int8, int4 };  // none: the engine's compute type
enum class ActivationScale { token, tensor };

struct ActivationFormat {
  ActivationId id = ActivationId::none;
  ActivationScale scale = ActivationScale::token;
  bool operator==(const ActivationFormat&) const = default;
};

// How the input of one linear is rounded.
struct ActivationRounding {
  ActivationFormat format;
  float absmax = 0;  // tensor: of the linear's calibrated input
  bool operator==(const ActivationRounding&) const = default;
};

// Whether elements become codes with a scale.
constexpr bool has_scales(ActivationId id) {
  return id != ActivationId::none && id != ActivationId::bf16;
}
// "fp8_e4m3_token", "int8_tensor", "bf16": in kernel names and certificates; empty for none.
std::string to_string(const ActivationFormat& format);

namespace format {

// Calls f(F{}) with the weight format that has the same levels. Only ids with scales.
template <class Function>
auto visit_activation(ActivationId id, Function&& f) {
  expect(has_scales(id), "activations of this format have levels");
  if (id == ActivationId::fp8_e4m3) return f(Fp8E4m3{});
  if (id == ActivationId::int8) return f(Int8{});
  return f(Int4{});
}

// The level that x takes; NaN stays NaN.
template <class F>
QSWEEP_HD float activation_level(float x, float scale) {
  const float normalized = x / scale;
  if constexpr (F::integer) {
    return round_even(clamp(normalized, static_cast<float>(F::lowest), F::range));
  } else {
    return F::level(F::encode(normalized));
  }
}

}  // namespace format
}  // namespace qsweep::quant

template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::ActivationId> =
    std::to_array<qsweep::NamePair<qsweep::quant::ActivationId>>(
        {{qsweep::quant::ActivationId::none, "none"},
         {qsweep::quant::ActivationId::bf16, "bf16"},
         {qsweep::quant::ActivationId::fp8_e4m3, "fp8_e4m3"},
         {qsweep::quant::ActivationId::int8, "int8"},
         {qsweep::quant::ActivationId::int4, "int4"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::ActivationScale> =
    std::to_array<qsweep::NamePair<qsweep::quant::ActivationScale>>(
        {{qsweep::quant::ActivationScale::token, "token"},
         {qsweep::quant::ActivationScale::tensor, "tensor"}});
