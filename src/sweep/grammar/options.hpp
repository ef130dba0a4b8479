// Options of methods and transforms: the one table that the grammar, the defaults and the
// documentation use.
#pragma once

#include <span>
#include <string_view>

#include "quant/config.hpp"
#include "sweep/grammar/read.hpp"

namespace qsweep::sweep::grammar {

struct OptionInfo {
  std::string_view owner;  // name of the method or transform
  std::string_view key;
  enum class Type { real, integer, flag } type;
  double fallback, min, max;
};
std::span<const OptionInfo> option_table();

// A word, or a map of one word to its options; every default filled in.
quant::Method read_method(const Node& node, const std::string& what, Faults& faults);
quant::Transform read_transform(const Node& node, const std::string& what, Faults& faults);

// `{gptq: {act_order: false, ...}}`, or the word alone where it has no options.
std::string with_options_yaml(std::string_view owner, const quant::Options& options);

}  // namespace qsweep::sweep::grammar
