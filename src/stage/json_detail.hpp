// JSON that a server or a publisher wrote: bounded, and its members read with their type checked.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace qsweep::stage {

inline constexpr int max_json_depth = 64;

// Throws Error{invalid_input} that names `place` on anything but one JSON value of at most
// max_json_depth levels in strict UTF-8. The caller bounds the size of the text.
nlohmann::json parse_json(std::string_view text, const std::string& place);

// A member of an object that must be there and have this type; numbers as `number_unsigned`.
const nlohmann::json& member(const nlohmann::json& json, const char* key,
                             nlohmann::json::value_t type, const std::string& place);
const std::string& text_member(const nlohmann::json& json, const char* key,
                               const std::string& place);

// The one form in which JSON is written: strict UTF-8 (bytes that are none become U+FFFD).
std::string json_line(const nlohmann::ordered_json& json);

}  // namespace qsweep::stage
