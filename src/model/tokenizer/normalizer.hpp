// Rewrites a text before it is cut into words: Unicode normal forms, replacements, case. A Sequence
// is read as its steps in order, so a normalizer is a flat list.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/pattern.hpp"

namespace qsweep::model::tok {

struct PrependText {
  std::string text;  // empty inputs stay empty
};
struct ReplaceText {
  Pattern pattern;
  std::string content;
};
struct StripSpace {
  bool left;
  bool right;
};
using Rewrite = std::string (*)(std::string text);  // a step without parameters

using NormalizerStep = std::variant<PrependText, ReplaceText, StripSpace, Rewrite>;
using Normalizer = std::vector<NormalizerStep>;

Normalizer parse_normalizer(const Place& place);
std::string normalize(const Normalizer& normalizer, std::string valid_utf8);

}  // namespace qsweep::model::tok
