// The canonical JSON of a config: every default written out, keys sorted, lists of a fixed order.
// Reading is strict: an unknown key, a wrong type or a value out of range is an error that names
// the key.
#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "quant/config.hpp"

namespace qsweep::quant {
namespace {

using nlohmann::json;

// ---- writing

json to_json(const Options& options) {
  json object = json::object();
  for (const auto& [name, value] : options) object[name] = value;
  return object;
}

json to_json(const ScaleCodec& codec) {
  json object = {{"codec", name_of(codec.id)}};
  if (codec.id == ScaleCodecId::e5m) {
    object["mantissa_bits"] = codec.mantissa_bits;
    object["sign_bit"] = codec.sign_bit;
    object["rounding"] = name_of(codec.rounding);
  }
  return object;
}

json to_json(const KvCodec& kv) {
  return {{"format", name_of(kv.id)},
          {"axis", name_of(kv.axis)},
          {"keep", kv.keep},
          {"by", kv.keep_by}};
}

json to_json(const LayerOverride& layer) {
  json object = {{"key", layer.key},         {"first", layer.range.first},
                 {"last", layer.range.last}, {"from_end", layer.range.from_end},
                 {"weights", nullptr},       {"kv", nullptr}};
  if (layer.weights) object["weights"] = to_json(*layer.weights);
  if (layer.kv) object["kv"] = to_json(*layer.kv);
  return object;
}

// ---- reading

// Bounds that no config comes near; they keep a hostile file from costing memory or overflowing
// later sums.
constexpr size_t max_text = 4096;
constexpr size_t max_items = 4096;
constexpr int64_t max_count = int64_t{1} << 30;

template <class E>
E parse_word(const std::string& found, const std::string& path) {
  if (const auto value = parse_name<E>(found)) return *value;
  const std::string near = nearest_word(found, all_names<E>());
  throw_invalid("unknown value \"" + found.substr(0, 80) + "\" of " + path, "no such name",
                near.empty() ? "" : "did you mean \"" + near + "\"?");
}

// One object of the file and the path of keys that led to it; every complaint names the path.
class Object {
 public:
  Object(const json& value, std::string path, std::vector<std::string> known)
      : value_(value), path_(std::move(path)) {
    if (!value.is_object()) fail("", "expected an object, found " + std::string(value.type_name()));
    for (const auto& [key, unused] : value.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      const std::string near = nearest_word(key, known);
      throw_invalid("unknown key " + at(key.substr(0, 80)), "the config format does not have it",
                    near.empty() ? "remove it" : "did you mean \"" + near + "\"?");
    }
  }

  bool has(const std::string& key) const {
    return value_.contains(key) && !value_.at(key).is_null();
  }
  const json& need(const std::string& key) const {
    if (!has(key)) fail(key, "missing");
    return value_.at(key);
  }
  std::string text(const std::string& key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!value_.at(key).is_string()) fail(key, "expected text");
    const auto& found = value_.at(key).get_ref<const std::string&>();
    if (found.size() > max_text) fail(key, "longer than 4096 bytes");
    return found;
  }
  bool flag(const std::string& key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!value_.at(key).is_boolean()) fail(key, "expected true or false");
    return value_.at(key).get<bool>();
  }
  int64_t integer(const std::string& key, int64_t fallback, int64_t low, int64_t high) const {
    if (!has(key)) return fallback;
    const json& found = value_.at(key);
    const bool fits =
        found.is_number_integer() &&
        (!found.is_number_unsigned() || found.get<uint64_t>() <= static_cast<uint64_t>(max_count));
    if (!fits || found.get<int64_t>() < low || found.get<int64_t>() > high) {
      fail(key,
           "expected a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return found.get<int64_t>();
  }
  double number(const std::string& key, double fallback) const {
    if (!has(key)) return fallback;
    if (!value_.at(key).is_number() || !std::isfinite(value_.at(key).get<double>()))
      fail(key, "expected a finite number");
    return value_.at(key).get<double>();
  }
  template <class E>
  E word(const std::string& key, E fallback) const {
    return has(key) ? parse_word<E>(text(key, ""), at(key)) : fallback;
  }
  // f(item, path of the item) for every item of a list; a missing key is an empty list.
  void each(const std::string& key,
            const std::function<void(const json&, const std::string&)>& f) const {
    if (!has(key)) return;
    const json& list = value_.at(key);
    if (!list.is_array() || list.size() > max_items)
      fail(key, "expected a list of at most 4096 items");
    for (size_t i = 0; i < list.size(); ++i) f(list[i], at(key) + "[" + std::to_string(i) + "]");
  }
  std::string at(const std::string& key) const {
    return path_.empty() ? key : key.empty() ? path_ : path_ + "." + key;
  }
  [[noreturn]] void fail(const std::string& key, const std::string& why) const {
    throw_invalid("bad config value " + at(key), why);
  }

 private:
  const json& value_;
  std::string path_;
};

ScaleCodec read_scale(const json& value, const std::string& path) {
  const Object object(value, path, {"codec", "mantissa_bits", "sign_bit", "rounding"});
  ScaleCodec codec;
  object.need("codec");
  codec.id = object.word("codec", codec.id);
  codec.mantissa_bits = static_cast<int>(object.integer("mantissa_bits", 0, 0, 10));
  codec.sign_bit = object.flag("sign_bit", true);
  codec.rounding = object.word("rounding", ScaleRounding::published);
  return codec;
}

int64_t read_group(const Object& object) {
  if (!object.has("group")) return per_channel;
  if (!object.need("group").is_string()) return object.integer("group", per_channel, 1, max_count);
  const std::string word = object.text("group", "");
  if (word == "channel") return per_channel;
  if (word == "tensor") return per_tensor;
  object.fail("group", "expected a number of elements, \"channel\" or \"tensor\"");
}

FormatSpec read_format(const json& value, const std::string& path) {
  const Object object(value, path, {"format", "group", "symmetric", "scale"});
  FormatSpec spec;
  object.need("format");
  spec.id = object.word("format", spec.id);
  spec.group = read_group(object);
  spec.symmetric = object.flag("symmetric", true);
  if (object.has("scale")) spec.scale = read_scale(object.need("scale"), object.at("scale"));
  if (const std::string problem = spec_problem(spec); !problem.empty()) object.fail("", problem);
  return spec;
}

Options read_options(const Object& parent) {
  Options options;
  if (!parent.has("options")) return options;
  const json& value = parent.need("options");
  if (!value.is_object() || value.size() > max_items)
    parent.fail("options", "expected an object of numbers");
  for (const auto& [name, number] : value.items()) {
    if (!number.is_number() || !std::isfinite(number.get<double>()))
      parent.fail("options." + name, "expected a finite number");
    options[name] = number.get<double>();
  }
  return options;
}

KvCodec read_kv(const json& value, const std::string& path) {
  const Object object(value, path, {"format", "axis", "keep", "by"});
  KvCodec kv;
  kv.id = object.word("format", kv.id);
  kv.axis = object.word("axis", kv.axis);
  kv.keep = object.number("keep", 1.0);
  if (!(kv.keep > 0 && kv.keep <= 1))
    object.fail("keep", "expected a fraction above 0 and at most 1");
  kv.keep_by = object.text("by", "");
  return kv;
}

LayerOverride read_layer(const json& value, const std::string& path) {
  const Object object(value, path, {"key", "first", "last", "from_end", "weights", "kv"});
  LayerOverride layer;
  layer.key = object.text("key", "");
  layer.range.first = object.integer("first", 0, 0, max_count);
  layer.range.last = object.integer("last", 0, 0, max_count);
  layer.range.from_end = object.flag("from_end", false);
  if (object.has("weights"))
    layer.weights = read_format(object.need("weights"), object.at("weights"));
  if (object.has("kv")) layer.kv = read_kv(object.need("kv"), object.at("kv"));
  return layer;
}

Sharer read_sharer(const json& value, const std::string& path) {
  const Object object(value, path, {"model", "fuser", "kv"});
  Sharer sharer{object.text("model", ""), object.text("fuser", ""), {}};
  if (object.has("kv")) sharer.kv = read_kv(object.need("kv"), object.at("kv"));
  return sharer;
}

Scope read_scope(const json& value, const std::string& path) {
  if (!value.is_string()) throw_invalid("bad config value " + path, "expected text");
  return parse_word<Scope>(value.get_ref<const std::string&>(), path);
}

}  // namespace

json to_json(const FormatSpec& spec) {
  json object = {{"format", name_of(spec.id)}};
  if (!has_scales(spec.id)) return object;  // group, symmetry and scale mean nothing there
  object["group"] = spec.group == per_channel  ? json("channel")
                    : spec.group == per_tensor ? json("tensor")
                                               : json(spec.group);
  object["symmetric"] = spec.symmetric;
  object["scale"] = to_json(spec.scale);
  return object;
}

json to_json(const QuantConfig& config) {
  json object = {
      {"name", config.name},
      {"method",
       {{"name", name_of(config.method.id)}, {"options", to_json(config.method.options)}}},
      {"activations",
       {{"format", name_of(config.activations.id)}, {"scale", name_of(config.activations.scale)}}},
      {"kv", to_json(config.kv)},
      {"weights", nullptr},
      {"sharer", nullptr},
      {"duplicate_of", config.duplicate_of}};
  // A scope is a set: its order and repetitions do not change what is run.
  std::vector<Scope> scope = config.scope;
  std::sort(scope.begin(), scope.end());
  scope.erase(std::unique(scope.begin(), scope.end()), scope.end());
  object["scope"] = json::array();
  for (const Scope s : scope) object["scope"].push_back(name_of(s));
  object["transforms"] = json::array();
  for (const Transform& transform : config.transforms) {
    object["transforms"].push_back(
        {{"name", name_of(transform.id)}, {"options", to_json(transform.options)}});
  }
  if (config.weights) object["weights"] = to_json(*config.weights);
  object["layers"] = json::array();
  for (const LayerOverride& layer : config.layers) object["layers"].push_back(to_json(layer));
  if (config.sharer) {
    object["sharer"] = {{"model", config.sharer->model},
                        {"fuser", config.sharer->fuser},
                        {"kv", to_json(config.sharer->kv)}};
  }
  return object;
}

FormatSpec format_from_json(const json& value) {
  return read_format(value, "");
}

QuantConfig config_from_json(const json& value) {
  const Object object(value, "",
                      {"name", "scope", "transforms", "method", "weights", "activations", "kv",
                       "layers", "sharer", "duplicate_of"});
  QuantConfig config;
  config.name = object.text("name", "");
  config.duplicate_of = object.text("duplicate_of", "");
  object.each("scope", [&](const json& item, const std::string& path) {
    config.scope.push_back(read_scope(item, path));
  });
  object.each("transforms", [&](const json& item, const std::string& path) {
    const Object transform(item, path, {"name", "options"});
    transform.need("name");
    config.transforms.push_back(
        {transform.word("name", TransformId::awq), read_options(transform)});
  });
  if (object.has("method")) {
    const Object method(object.need("method"), "method", {"name", "options"});
    config.method = {method.word("name", MethodId::rtn), read_options(method)};
  }
  if (object.has("weights")) config.weights = read_format(object.need("weights"), "weights");
  if (object.has("activations")) {
    const Object activations(object.need("activations"), "activations", {"format", "scale"});
    config.activations = {activations.word("format", ActivationId::none),
                          activations.word("scale", ActivationScale::token)};
  }
  if (object.has("kv")) config.kv = read_kv(object.need("kv"), "kv");
  object.each("layers", [&](const json& item, const std::string& path) {
    config.layers.push_back(read_layer(item, path));
  });
  if (object.has("sharer")) config.sharer = read_sharer(object.need("sharer"), "sharer");
  return config;
}

}  // namespace qsweep::quant
