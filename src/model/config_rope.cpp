#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.hpp"
#include "model/config_parts.hpp"

namespace qsweep::model {
namespace {

std::vector<double> factors(const Place& rope, const char* key, int64_t count) {
  const Place place = rope.at(key);
  if (place.size() != static_cast<size_t>(count)) {
    place.fail("wrong number of factors", "expected head_dim / 2 = " + std::to_string(count) +
                                              ", found " + std::to_string(place.size()));
  }
  std::vector<double> result;
  for (size_t i = 0; i < place.size(); ++i) result.push_back(number(place.at(i), 1e-6, 1e6));
  return result;
}

int64_t original_positions(const Place& config, const Place& rope, const ModelConfig& model) {
  for (const Place& place : {rope, config}) {
    if (const auto found = place.find("original_max_position_embeddings")) {
      return found->integer(1, model.max_positions);
    }
  }
  rope.fail("'original_max_position_embeddings' is missing", "this rope scaling needs it");
}

void parse_llama3(const Place& config, const Place& rope, const ModelConfig& model,
                  RopeConfig& result) {
  result.kind = RopeKind::llama3;
  result.factor = number(rope.at("factor"), 1, 1e6);
  result.low_freq_factor = number(rope.at("low_freq_factor"), 1e-3, 1e6);
  result.high_freq_factor = number(rope.at("high_freq_factor"), 1e-3, 1e6);
  result.original_max_positions = original_positions(config, rope, model);
  if (result.high_freq_factor <= result.low_freq_factor) {
    rope.at("high_freq_factor")
        .fail("is not above low_freq_factor", "the blend would divide by zero");
  }
}

void parse_longrope(const Place& config, const Place& rope, const ModelConfig& model,
                    RopeConfig& result) {
  result.kind = RopeKind::longrope;
  result.original_max_positions = original_positions(config, rope, model);
  result.short_factor = factors(rope, "short_factor", model.head_dim / 2);
  result.long_factor = factors(rope, "long_factor", model.head_dim / 2);
  for (const char* key : {"short_mscale", "long_mscale"}) {
    if (const auto mscale = rope.find(key)) mscale->fail("is not supported", "Phi-3.5-MoE only");
  }
  const double derived =
      longrope_attention_factor(model.max_positions, result.original_max_positions);
  result.attention_factor = number_or(rope, "attention_factor", derived, 1e-3, 1e3);
}

}  // namespace

std::string python_json(const std::string& text) {
  constexpr std::string_view words[] = {"-Infinity", "Infinity", "NaN"};
  std::string result;
  result.reserve(text.size());
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (in_string && c == '\\' && i + 1 < text.size()) {
      result.append(text, i, 2);
      i += 2;
      continue;
    }
    if (c == '"') in_string = !in_string;
    std::string_view found;
    for (const std::string_view word : words) {
      if (!in_string && text.compare(i, word.size(), word) == 0) {
        found = word;
        break;
      }
    }
    if (found.empty()) {
      result.push_back(c);
      ++i;
    } else {
      result.append("{\"__float__\": \"").append(found).append("\"}");
      i += found.size();
    }
  }
  return result;
}

double number(const Place& place, double low, double high) {
  if (!place.value().is_number()) {
    place.fail("wrong type",
               std::string("expected a finite number, found ") + place.value().type_name());
  }
  const double value = place.value().get<double>();
  if (!(value >= low && value <= high)) {
    place.fail("number out of range", "expected " + nlohmann::json(low).dump() + ".." +
                                          nlohmann::json(high).dump() + ", found " +
                                          place.value().dump());
  }
  return value;
}

double number_or(const Place& config, const char* key, double fallback, double low, double high) {
  const auto place = config.find(key);
  return place ? number(*place, low, high) : fallback;
}

double longrope_attention_factor(int64_t max_positions, int64_t original_max_positions) {
  const double factor =
      static_cast<double>(max_positions) / static_cast<double>(original_max_positions);
  if (factor <= 1 || original_max_positions <= 1) return 1;
  return std::sqrt(1 + std::log(factor) / std::log(static_cast<double>(original_max_positions)));
}

RopeConfig parse_rope(const Place& config, const ModelConfig& model) {
  RopeConfig result;
  auto rope = config.find("rope_parameters");
  if (!rope) rope = config.find("rope_scaling");
  if (rope && !rope->is_object()) rope->fail("wrong type", "expected an object");
  // The newer form keeps theta beside the other rope keys.
  result.theta = number_or(config, "rope_theta", result.theta, 1, 1e12);
  if (rope) result.theta = number_or(*rope, "rope_theta", result.theta, 1, 1e12);
  for (const auto& place : {std::optional<Place>(config), rope}) {
    if (!place) continue;
    const auto partial = place->find("partial_rotary_factor");
    if (partial && number(*partial, 0, 1) != 1) {
      partial->fail("is not supported", "only heads rotated whole are implemented");
    }
  }
  if (!rope) return result;
  auto type = rope->find("rope_type");
  if (!type) type = rope->find("type");
  const std::string kind = type ? type->string() : "default";
  if (kind == "llama3") {
    parse_llama3(config, *rope, model, result);
  } else if (kind == "longrope" || kind == "su") {
    parse_longrope(config, *rope, model, result);
  } else if (kind != "default") {
    type->fail("unknown rope scaling '" + kind + "'", "known are default, llama3, longrope, su");
  }
  return result;
}

}  // namespace qsweep::model
