// The one list of weight formats; everything else (names, widths, kernels, tests) is derived from
// it. A new format is one header, one entry here and one in enum_names<FormatId>.
#pragma once

#include <concepts>
#include <utility>

#include "base/error.hpp"
#include "quant/format/fp8_e4m3.hpp"
#include "quant/format/int4.hpp"
#include "quant/format/int8.hpp"
#include "quant/format/nf4.hpp"
#include "quant/format/raw.hpp"

namespace qsweep::quant::format {

// W ~ level(code) * scale, code = encode(w / scale), exact scale = absmax / range. `flattened`:
// groups ignore rows. `high_first`: of two codes in a byte the first stands in the high nibble.
template <class F>
concept WeightFormat = requires(uint32_t code, float normalized) {
  { F::id } -> std::convertible_to<FormatId>;
  { F::bits } -> std::convertible_to<int>;
  { F::scaled } -> std::convertible_to<bool>;
  { F::integer } -> std::convertible_to<bool>;
  { F::flattened } -> std::convertible_to<bool>;
  { F::high_first } -> std::convertible_to<bool>;
  { F::range } -> std::convertible_to<float>;
  { F::level(code) } -> std::same_as<float>;
  { F::encode(normalized) } -> std::same_as<uint32_t>;
};

template <class... T>
struct TypeList {
  static constexpr size_t size = sizeof...(T);
};

template <WeightFormat... F>
using FormatTypes = TypeList<F...>;
using Formats = FormatTypes<Fp32, Fp16, Bf16, Fp8E4m3, Int8, Int4, Nf4>;

// Calls f(T{}) for the type of the list whose T::id is `id`: the place where a run-time id becomes
// a type.
template <class First, class... Rest, class Id, class Function>
auto visit_list(TypeList<First, Rest...>, Id id, Function&& f) {
  if constexpr (sizeof...(Rest) > 0) {
    if (id != First::id) return visit_list(TypeList<Rest...>{}, id, std::forward<Function>(f));
  } else {
    expect(id == First::id, "the id is in the list of types");
  }
  return f(First{});
}

template <class Function>
auto visit_format(FormatId id, Function&& f) {
  return visit_list(Formats{}, id, std::forward<Function>(f));
}

// Every enumerator has its type and its name, in the same order.
template <class... T>
constexpr bool matches_names(TypeList<T...>) {
  constexpr FormatId ids[] = {T::id...};
  if (sizeof...(T) != enum_names<FormatId>.size()) return false;
  for (size_t i = 0; i < sizeof...(T); ++i) {
    if (ids[i] != static_cast<FormatId>(i) || enum_names<FormatId>[i].first != ids[i]) return false;
  }
  return true;
}
static_assert(matches_names(Formats{}));

}  // namespace qsweep::quant::format
