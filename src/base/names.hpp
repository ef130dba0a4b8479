// Enum <-> string from one table: specialise `enum_names<E>` with an array of {value, name}.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qsweep {

// A specialisation is `template <> inline constexpr auto enum_names<E> =
// std::to_array<NamePair<E>>({...});`
template <class E>
using NamePair = std::pair<E, std::string_view>;
template <class E>
inline constexpr int enum_names = 0;

template <class E>
constexpr std::string_view name_of(E value) {
  for (const auto& [candidate, name] : enum_names<E>) {
    if (candidate == value) return name;
  }
  return "?";
}

template <class E>
constexpr std::optional<E> parse_name(std::string_view text) {
  for (const auto& [value, name] : enum_names<E>) {
    if (name == text) return value;
  }
  return std::nullopt;
}

template <class E>
std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const auto& [value, name] : enum_names<E>) names.emplace_back(name);
  return names;
}

}  // namespace qsweep
