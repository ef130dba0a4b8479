// JSON from outside: parsed with bounds on size, depth and number of values, duplicate keys
// refused, and read through `Place`, which knows where it stands so that a fault can name file and
// JSON place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace qsweep::model::tok {

inline constexpr uint64_t max_json_bytes = 256ull << 20;  // of any JSON file but a plan
// Published files nest to about 8; 64 keeps every recursion over the tree shallow.
inline constexpr size_t max_json_depth = 64;
// A vocabulary of 10^6 with as many merge pairs is 4*10^6 values; one costs 16 bytes or more.
inline constexpr size_t max_json_values = size_t{1} << 24;

// `name` is the file as faults shall name it.
nlohmann::json parse_strict_json(std::string_view text, const std::string& name,
                                 uint64_t max_bytes = max_json_bytes);

// A value and its place, e.g. `tokenizer.json: model.merges[3]`. The json must outlive it.
class Place {
 public:
  Place(const nlohmann::json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool has(std::string_view key) const;  // present and not null

  Place at(std::string_view key) const;                   // required member of an object
  Place at(size_t index) const;                           // element of an array
  std::optional<Place> find(std::string_view key) const;  // absent or null: nothing
  size_t size() const;                                    // of an array; refuses anything else

  const std::string& string() const;
  bool boolean() const;
  int64_t integer(int64_t low, int64_t high) const;  // inclusive bounds
  char32_t character() const;                        // a string of exactly one code point

  [[noreturn]] void fail(std::string_view problem, std::string_view why,
                         std::string_view suggestion = {}) const;

 private:
  [[noreturn]] void wrong_type(std::string_view expected) const;

  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace qsweep::model::tok
