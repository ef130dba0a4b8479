// Turns token strings back into text: each step maps the list of strings to another list, and what
// is left is joined. Without any step the strings are joined with blanks.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/pattern.hpp"

namespace qsweep::model::tok {

using Strings = std::vector<std::string>;

struct ReplaceInTokens {
  Pattern pattern;
  std::string content;
};
struct StripTokens {
  std::string content;  // one character
  size_t start;         // at most so many from the front
  size_t stop;          // and from the back
};
struct MetaspaceDecode {
  std::string replacement;
  bool drop_first;  // the first token has no blank in its place
};
using MapTokens = Strings (*)(Strings tokens);  // a step without parameters

using DecoderStep = std::variant<ReplaceInTokens, StripTokens, MetaspaceDecode, MapTokens>;
struct Decoder {
  bool present = false;  // an empty Sequence still joins without blanks
  std::vector<DecoderStep> steps;
};

uint64_t total_bytes(const Strings& tokens);
Decoder parse_decoder(const Place& place);
std::string decode(const Decoder& decoder, Strings tokens);

}  // namespace qsweep::model::tok
