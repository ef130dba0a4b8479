// Cuts a normalized text into words, which the model then encodes one by one. A Sequence is read as
// its steps in order, so a pre-tokenizer is a flat list; no step at all leaves the text one word.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/pattern.hpp"

namespace qsweep::model::tok {

// A word on its way through the steps; `at_start` says that it begins where the whole input begins.
struct Word {
  std::string text;
  bool at_start = false;
};

enum class PrependScheme { always, first, never };

struct SplitStep {
  Pattern pattern;
  SplitBehavior behavior;
  bool invert;  // cut at the gaps instead of the matches
};
struct ByteLevelStep {
  bool add_prefix_space;
  std::vector<Regex> words;  // the GPT-2 pattern, or none where use_regex is false
};
struct MetaspaceStep {
  std::string replacement;
  PrependScheme prepend;
  bool split;
};
struct WordRunsStep {
};  // Whitespace: runs of word characters, runs of what is neither word nor space

using PreTokenizerStep = std::variant<SplitStep, ByteLevelStep, MetaspaceStep, WordRunsStep>;
using PreTokenizer = std::vector<PreTokenizerStep>;

PreTokenizer parse_pre_tokenizer(const Place& place);
// Shared with the decoder of the same name.
MetaspaceStep parse_metaspace(const Place& place);

// Empty words are dropped.
std::vector<Word> pre_tokenize(const PreTokenizer& steps, Word text);

}  // namespace qsweep::model::tok
