// How a stage says where a text is to be cut: a literal, a regular expression or a class of
// characters. `segments` covers the whole text with adjacent pieces, each a match or a gap.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/regex.hpp"
#include "model/tokenizer/strict_json.hpp"

namespace qsweep::model::tok {

struct Segment {
  size_t begin;  // bytes, half-open
  size_t end;
  bool is_match;
};

struct Literal {
  std::string text;  // not empty
};
using CharacterClass = bool (*)(char32_t);  // each character of the class is a match of its own
using Pattern = std::variant<Literal, Regex, CharacterClass>;

// {"String": ...} or {"Regex": ...}
Pattern parse_pattern(const Place& place);

std::vector<Segment> segments(const Pattern& pattern, std::string_view valid_utf8);
// Throws Error{invalid_input} where the result passes `limit` bytes.
std::string replace_all(const Pattern& pattern, std::string_view valid_utf8, std::string_view with,
                        uint64_t limit);

// What becomes of the matches when a text is cut at them.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
SplitBehavior parse_split_behavior(const Place& place);

// The pieces to keep; may contain empty ones.
std::vector<Match> cut(std::vector<Segment> segments, SplitBehavior behavior);

}  // namespace qsweep::model::tok
