#include "stage/json_detail.hpp"

#include "base/error.hpp"

namespace qsweep::stage {

using nlohmann::json;

json parse_json(std::string_view text, const std::string& place) {
  const auto bounded = [&](int depth, json::parse_event_t, json&) {
    if (depth > max_json_depth) {
      throw_invalid(place + ": JSON is nested too deeply",
                    "more than " + std::to_string(max_json_depth) + " levels");
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), bounded);
  } catch (const json::exception& error) {
    throw_invalid(place + ": not valid JSON", std::string(error.what()).substr(0, 240));
  }
}

const json& member(const json& value, const char* key, json::value_t type,
                   const std::string& place) {
  const auto found = value.is_object() ? value.find(key) : value.end();
  if (!value.is_object() || found == value.end() || found->type() != type) {
    throw_invalid(place + ": no usable '" + key + "'",
                  "expected " + std::string(json(type).type_name()) + ", found " +
                      (!value.is_object()     ? value.type_name()
                       : found == value.end() ? "nothing"
                                              : found->type_name()));
  }
  return *found;
}

const std::string& text_member(const json& value, const char* key, const std::string& place) {
  return member(value, key, json::value_t::string, place).get_ref<const std::string&>();
}

std::string json_line(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace qsweep::stage
