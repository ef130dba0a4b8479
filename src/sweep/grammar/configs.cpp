#include "sweep/grammar/configs.hpp"

#include <algorithm>
#include <charconv>

#include "sweep/grammar/formats.hpp"
#include "sweep/grammar/options.hpp"

namespace qsweep::sweep::grammar {
namespace {

using quant::QuantConfig;

constexpr int64_t max_layers = 100000;
constexpr size_t max_transforms = 64;

bool parse_layer(std::string_view text, int64_t& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && value >= 0 &&
         value < max_layers;
}

void read_scope(const Node& node, const std::string& what, QuantConfig& config, Faults& faults) {
  for (const Node* item : read_list(node, what, faults)) {
    const auto scope = read_name<quant::Scope>(*item, what, faults);
    if (!scope) continue;
    if (std::find(config.scope.begin(), config.scope.end(), *scope) != config.scope.end()) {
      faults.add(item->place, what + " names " + item->text + " twice", "", "remove one");
      continue;
    }
    config.scope.push_back(*scope);
  }
}

void read_transforms(const Node& node, const std::string& what, QuantConfig& config,
                     Faults& faults) {
  if (node.is_list() && node.items.empty()) return;
  if (node.is_map()) {  // one transform without brackets
    config.transforms.push_back(read_transform(node, what, faults));
    return;
  }
  const std::vector<const Node*> items = read_list(node, what, faults);
  if (items.size() > max_transforms) {
    faults.add(node.place, what + " has too many transforms",
               "at most " + std::to_string(max_transforms), "remove some");
    return;
  }
  for (const Node* item : items) {
    config.transforms.push_back(read_transform(*item, what, faults));
  }
}

void read_layers(const Node& node, const std::string& what, QuantConfig& config, Faults& faults) {
  if (!node.is_map()) {
    faults.add(node.place, what + " should be a map of layers to formats",
               "found " + describe(node), "for example {last 4: {kv: bf16}}");
    return;
  }
  for (const Entry& entry : node.entries) {
    quant::LayerOverride change;
    change.key = entry.key;
    const std::string here = what + " '" + entry.key + "'";
    const auto range = parse_layers(entry.key);
    if (!range) {
      faults.add(entry.place, here + " names no layers", "",
                 "write '5', '0-3', 'first 2' or 'last 4'");
    } else {
      change.range = *range;
    }
    const MapReader map(entry.value, here, {"weights", "kv"}, faults);
    if (const Node* weights = map.find("weights"))
      change.weights = read_weights(*weights, here + ".weights", faults);
    if (const Node* kv = map.find("kv")) change.kv = read_kv(*kv, here + ".kv", faults);
    if (map.ok() && entry.value.entries.empty()) {
      faults.add(entry.place, here + " changes nothing", "", "give it weights or kv, or remove it");
    }
    config.layers.push_back(std::move(change));
  }
}

quant::Sharer read_sharer(const Node& node, const std::string& what, Faults& faults) {
  quant::Sharer sharer;
  const MapReader map(node, what, sharer_keys(), faults);
  if (const Node* model = map.need("model"))
    sharer.model = read_text(*model, what + ".model", faults);
  if (const Node* fuser = map.need("fuser"))
    sharer.fuser = read_text(*fuser, what + ".fuser", faults);
  if (const Node* kv = map.find("kv")) sharer.kv = read_kv(*kv, what + ".kv", faults);
  return sharer;
}

// Parts that stand but touch nothing would be a silent hole in the grid.
void check_whole(const QuantConfig& config, const Node& body, const std::string& what,
                 Faults& faults) {
  const bool formats =
      config.weights || config.activations.id != quant::ActivationId::none ||
      std::any_of(config.layers.begin(), config.layers.end(),
                  [](const quant::LayerOverride& change) { return change.weights.has_value(); });
  if (formats && config.scope.empty() && body.find("scope") == nullptr) {
    faults.add(body.place, what + " has formats but no scope", "nothing would be quantized",
               "add scope: all_linear, mlp, attention, mixer_proj or lm_head");
  }
  if (!formats && body.find("scope") != nullptr && !config.scope.empty() &&
      body.find("weights") == nullptr) {
    faults.add(body.find("scope")->place, what + " has a scope but no formats",
               "nothing would be quantized", "add weights, for example int4/g128");
  }
}

std::string spaces(int count) {
  return std::string(static_cast<size_t>(count), ' ');
}

std::string layers_yaml(const QuantConfig& config, const std::string& margin) {
  if (config.layers.empty()) return margin + "layers: {}\n";
  std::string text = margin + "layers:\n";
  for (const quant::LayerOverride& change : config.layers) {
    text += margin + "  " + text_yaml(change.key) + ": {";
    if (change.weights)
      text += "weights: " + weights_yaml(change.weights) + (change.kv ? ", " : "");
    if (change.kv) text += "kv: " + kv_yaml(*change.kv);
    text += "}\n";
  }
  return text;
}

}  // namespace

const std::vector<std::string>& config_keys() {
  static const std::vector<std::string> keys = {
      "sweep", "scope", "transforms", "method", "weights", "activations", "kv", "layers", "sharer"};
  return keys;
}
const std::vector<std::string>& sharer_keys() {
  static const std::vector<std::string> keys = {"model", "fuser", "kv"};
  return keys;
}

std::optional<quant::LayerRange> parse_layers(const std::string& key) {
  quant::LayerRange range;
  const std::string_view text(key);
  if (text.starts_with("last ")) {
    range.from_end = true;
    if (!parse_layer(text.substr(5), range.last) || range.last == 0) return std::nullopt;
    return range;
  }
  if (text.starts_with("first ")) {
    if (!parse_layer(text.substr(6), range.last) || range.last == 0) return std::nullopt;
    --range.last;
    return range;
  }
  const size_t dash = text.find('-');
  if (!parse_layer(text.substr(0, dash), range.first)) return std::nullopt;
  range.last = range.first;
  if (dash != std::string_view::npos && !parse_layer(text.substr(dash + 1), range.last))
    return std::nullopt;
  return range.first <= range.last ? std::optional(range) : std::nullopt;
}

QuantConfig read_config(const std::string& name, const Node& body, Faults& faults) {
  QuantConfig config;
  config.name = name;
  const std::string what = "config " + name;
  const MapReader map(body, what, config_keys(), faults);
  if (!map.ok()) return config;
  if (const Node* node = map.find("scope");
      node != nullptr && !(node->is_list() && node->items.empty())) {
    read_scope(*node, what + ".scope", config, faults);
  }
  if (const Node* node = map.find("transforms"))
    read_transforms(*node, what + ".transforms", config, faults);
  if (const Node* node = map.find("method"))
    config.method = read_method(*node, what + ".method", faults);
  if (const Node* node = map.find("weights"))
    config.weights = read_weights(*node, what + ".weights", faults);
  if (const Node* node = map.find("activations")) {
    config.activations = read_activations(*node, what + ".activations", faults);
  }
  if (const Node* node = map.find("kv")) config.kv = read_kv(*node, what + ".kv", faults);
  if (const Node* node = map.find("layers"); node != nullptr && !node->is_empty()) {
    read_layers(*node, what + ".layers", config, faults);
  }
  if (const Node* node = map.find("sharer"))
    config.sharer = read_sharer(*node, what + ".sharer", faults);
  check_whole(config, body, what, faults);
  return config;
}

std::vector<NamedConfig> read_configs(const Node& node, Faults& faults) {
  std::vector<NamedConfig> configs;
  std::set<std::string> names;
  Room room;
  if (!node.is_map() || node.entries.empty()) {
    faults.add(node.place, "configs should be a map of names to configs", "found " + describe(node),
               "for example configs: {C0: {}, C3: {scope: mlp, weights: int4/g128}}");
    return configs;
  }
  for (const Entry& entry : node.entries) {
    if (!check_safe_name(entry.key, entry.place, "config name", faults)) continue;
    if (configs.size() >= max_configs) {
      faults.add(entry.place, "too many configs",
                 "a study holds at most " + std::to_string(max_configs), "split it");
      break;
    }
    room.configs = max_configs - configs.size();
    for (Expanded& one : expand_sweep(entry, room, faults)) {
      check_safe_name(one.name, entry.place, "config name", faults);
      if (!names.insert(one.name).second) {
        faults.add(entry.place, "two configs are named " + one.name,
                   "a sweep gives one of them this name", "rename one");
      }
      configs.push_back({read_config(one.name, one.body, faults), one.body.is_empty()});
    }
  }
  return configs;
}

std::string config_yaml(const QuantConfig& config, int indent) {
  const std::string margin = spaces(indent);
  std::string text = margin + "scope: [";
  for (size_t i = 0; i < config.scope.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::string(name_of(config.scope[i]));
  }
  text += "]\n" + margin + "transforms: [";
  for (size_t i = 0; i < config.transforms.size(); ++i) {
    const quant::Transform& transform = config.transforms[i];
    text += (i > 0 ? ", " : "") + with_options_yaml(name_of(transform.id), transform.options);
  }
  text += "]\n" + margin +
          "method: " + with_options_yaml(name_of(config.method.id), config.method.options) + "\n";
  text += margin + "weights: " + weights_yaml(config.weights) + "\n";
  text += margin + "activations: " + activations_yaml(config.activations) + "\n";
  text += margin + "kv: " + kv_yaml(config.kv) + "\n";
  text += layers_yaml(config, margin);
  if (config.sharer) {
    text += margin + "sharer: {model: " + text_yaml(config.sharer->model) +
            ", fuser: " + text_yaml(config.sharer->fuser) + ", kv: " + kv_yaml(config.sharer->kv) +
            "}\n";
  }
  return text;
}

std::string text_yaml(const std::string& text) {
  const bool plain = !text.empty() && text != "~" && text != "null" && text.front() != '-' &&
                     text.back() != ' ' && text.front() != ' ' &&
                     std::all_of(text.begin(), text.end(),
                                 [](unsigned char c) {
                                   return std::isalnum(c) != 0 || c == '_' || c == '.' ||
                                          c == '/' || c == '-' || c == '+' || c == ' ' || c == '@';
                                 }) &&
                     text.front() != '@';
  if (plain) return text;
  std::string quoted = "'";
  for (const char c : text) {
    quoted.push_back(c);
    if (c == '\'') quoted.push_back('\'');
  }
  return quoted + "'";
}

}  // namespace qsweep::sweep::grammar
