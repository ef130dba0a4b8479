#include "sweep/grammar/options.hpp"

#include <array>

namespace qsweep::sweep::grammar {
namespace {

using Type = OptionInfo::Type;

// Defaults are those of the published implementations: GPTQ's damping and blocks, AWQ's and its
// clip's grids of 20, HQQ's lp norm, AdaRound's schedule, SmoothQuant's migration strength.
constexpr auto table = std::to_array<OptionInfo>({
    {"gptq", "damping", Type::real, 0.01, 1e-6, 1},
    {"gptq", "act_order", Type::flag, 0, 0, 1},
    {"gptq", "block", Type::integer, 128, 1, 65536},
    {"clip", "grid", Type::integer, 20, 1, 1000},
    {"clip", "max_shrink", Type::real, 0.5, 0, 0.99},
    {"hqq", "iterations", Type::integer, 20, 1, 10000},
    {"hqq", "p", Type::real, 0.7, 0.01, 1},
    {"hqq", "beta", Type::real, 10, 1e-3, 1e6},
    {"adaround", "iterations", Type::integer, 10000, 1, 1000000},
    {"adaround", "learning_rate", Type::real, 1e-3, 1e-9, 10},
    {"adaround", "lambda", Type::real, 0.01, 0, 1e3},
    {"adaround", "warmup", Type::real, 0.2, 0, 1},
    {"adaround", "beta_start", Type::real, 20, 1, 1000},
    {"adaround", "beta_end", Type::real, 2, 1, 1000},
    {"smoothquant", "alpha", Type::real, 0.5, 0, 1},
    {"awq", "grid", Type::integer, 20, 1, 1000},
});

double read_option(const OptionInfo& info, const Node& node, const std::string& what,
                   Faults& faults) {
  switch (info.type) {
    case Type::flag:
      return read_flag(node, what, info.fallback != 0, faults) ? 1 : 0;
    case Type::integer:
      return static_cast<double>(read_integer(node, what, static_cast<int64_t>(info.min),
                                              static_cast<int64_t>(info.max),
                                              static_cast<int64_t>(info.fallback), faults));
    case Type::real:
      return read_real(node, what, info.min, info.max, info.fallback, faults);
  }
  return info.fallback;
}

quant::Options read_options(std::string_view owner, const Node* node, const std::string& what,
                            Faults& faults) {
  quant::Options options;
  std::vector<std::string> keys;
  for (const OptionInfo& info : table) {
    if (info.owner == owner) keys.emplace_back(info.key);
  }
  static const Node nothing;
  const MapReader map(node != nullptr ? *node : nothing, what + "." + std::string(owner), keys,
                      faults);
  for (const OptionInfo& info : table) {
    if (info.owner != owner) continue;
    const Node* value = map.find(std::string(info.key));
    options[std::string(info.key)] =
        value == nullptr
            ? info.fallback
            : read_option(info, *value,
                          what + "." + std::string(owner) + "." + std::string(info.key), faults);
  }
  return options;
}

// The name and the node of its options (nullptr for a bare word); nullopt after a fault.
template <class E>
std::optional<std::pair<E, const Node*>> read_named(const Node& node, const std::string& what,
                                                    Faults& faults) {
  if (!node.is_map()) {
    const auto id = read_name<E>(node, what, faults);
    if (!id) return std::nullopt;
    return std::pair{*id, static_cast<const Node*>(nullptr)};
  }
  if (node.entries.size() != 1) {
    faults.add(node.place, what + " should name one thing",
               std::to_string(node.entries.size()) + " keys",
               "write name or {name: {option: value}}");
    return std::nullopt;
  }
  Node name;
  name.kind = Node::Kind::scalar;
  name.text = node.entries[0].key;
  name.place = node.entries[0].place;
  const auto id = read_name<E>(name, what, faults);
  if (!id) return std::nullopt;
  return std::pair{*id, &node.entries[0].value};
}

}  // namespace

std::span<const OptionInfo> option_table() {
  return table;
}

quant::Method read_method(const Node& node, const std::string& what, Faults& faults) {
  const auto named = read_named<quant::MethodId>(node, what, faults);
  if (!named) return {};
  return {named->first, read_options(name_of(named->first), named->second, what, faults)};
}

quant::Transform read_transform(const Node& node, const std::string& what, Faults& faults) {
  const auto named = read_named<quant::TransformId>(node, what, faults);
  if (!named) return {};
  return {named->first, read_options(name_of(named->first), named->second, what, faults)};
}

std::string with_options_yaml(std::string_view owner, const quant::Options& options) {
  std::string text;
  for (const OptionInfo& info : table) {
    const auto found = options.find(std::string(info.key));
    if (info.owner != owner || found == options.end()) continue;
    const std::string value = info.type == Type::flag ? (found->second != 0 ? "true" : "false")
                                                      : number_text(found->second);
    text += (text.empty() ? "" : ", ") + std::string(info.key) + ": " + value;
  }
  std::string whole(owner);
  if (!text.empty()) whole.insert(0, 1, '{').append(": {").append(text).append("}}");
  return whole;
}

}  // namespace qsweep::sweep::grammar
