// The study's configs: sweeps expanded, every part read.
#pragma once

#include <vector>

#include "quant/config.hpp"
#include "sweep/grammar/read.hpp"

namespace qsweep::sweep::grammar {

inline constexpr size_t max_configs = 10000;

// One config of the study, and whether its body is empty (the natural baseline).
struct NamedConfig {
  quant::QuantConfig config;
  bool empty = false;
};

std::vector<NamedConfig> read_configs(const Node& node, Faults& faults);
quant::QuantConfig read_config(const std::string& name, const Node& body, Faults& faults);

// Bodies of a config with `sweep: {m: [0, 3], g: [64]}`: the cartesian product, "{m}" replaced in
// every text; names get "_m0_g64". Without a sweep the body itself.
struct Expanded {
  std::string name;
  Node body;
};
// What a study's sweeps may still expand to. Every combination has a copy of the body, so a long
// body and many combinations multiply.
struct Room {
  size_t configs = max_configs;
  size_t values = 1 << 20;
  size_t bytes = 1 << 23;
};
std::vector<Expanded> expand_sweep(const Entry& config, Room& room, Faults& faults);

// "last 4", "first 2", "0-3", "5".
std::optional<quant::LayerRange> parse_layers(const std::string& key);

const std::vector<std::string>& config_keys();
const std::vector<std::string>& sharer_keys();

// The config's body as lines of YAML, each indented by `indent` spaces, every default written out.
std::string config_yaml(const quant::QuantConfig& config, int indent);
// A text as a YAML scalar, quoted where it needs to be.
std::string text_yaml(const std::string& text);

}  // namespace qsweep::sweep::grammar
