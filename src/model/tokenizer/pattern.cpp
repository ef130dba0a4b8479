#include "model/tokenizer/pattern.hpp"

#include <algorithm>
#include <array>

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

std::vector<Match> find_all(const Literal& literal, std::string_view text) {
  std::vector<Match> matches;
  const size_t length = literal.text.size();
  for (size_t at = text.find(literal.text); at != text.npos;
       at = text.find(literal.text, at + length)) {
    matches.push_back({at, at + length});
  }
  return matches;
}

std::vector<Match> find_all(const Regex& regex, std::string_view text) {
  return regex.find_all(text);
}

std::vector<Match> find_all(CharacterClass contains, std::string_view text) {
  std::vector<Match> matches;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    if (contains(c.value)) matches.push_back({at, at + c.bytes});
    at += c.bytes;
  }
  return matches;
}

// Joins a match with the piece before it in the given order, unless that is a match too: for
// merged_with_next the pieces come in reverse.
template <class Iterator, class Join>
std::vector<Match> merge_matches(Iterator begin, Iterator end, Join join) {
  std::vector<Match> pieces;
  bool previous_match = false;
  for (; begin != end; ++begin) {
    if (begin->is_match && !previous_match && !pieces.empty()) {
      join(pieces.back(), *begin);
    } else {
      pieces.push_back({begin->begin, begin->end});
    }
    previous_match = begin->is_match;
  }
  return pieces;
}

std::vector<Match> join_runs(const std::vector<Segment>& segments) {
  std::vector<Match> pieces;
  bool previous_match = false;
  for (const Segment& segment : segments) {
    if (segment.is_match == previous_match && !pieces.empty()) {
      pieces.back().end = segment.end;
    } else {
      pieces.push_back({segment.begin, segment.end});
    }
    previous_match = segment.is_match;
  }
  return pieces;
}

}  // namespace

Pattern parse_pattern(const Place& place) {
  if (const auto text = place.find("String")) {
    if (bounded_text(*text, max_token_bytes).empty())
      text->fail("empty pattern", "it would match everywhere");
    return Literal{text->string()};
  }
  if (const auto regex = place.find("Regex")) return Regex(regex->string(), regex->path());
  place.fail("unknown pattern", "expected {\"String\": ...} or {\"Regex\": ...}");
}

std::vector<Segment> segments(const Pattern& pattern, std::string_view text) {
  if (text.empty()) return {};  // even where the pattern matches the empty text
  const auto matches = std::visit([&](const auto& p) { return find_all(p, text); }, pattern);
  std::vector<Segment> result;
  result.reserve(2 * matches.size() + 1);
  size_t covered = 0;
  for (const Match& match : matches) {
    if (covered != match.begin) result.push_back({covered, match.begin, false});
    result.push_back({match.begin, match.end, true});
    covered = match.end;
  }
  if (covered != text.size()) result.push_back({covered, text.size(), false});
  return result;
}

std::string replace_all(const Pattern& pattern, std::string_view text, std::string_view with,
                        uint64_t limit) {
  std::string out;
  out.reserve(text.size());
  for (const Segment& s : segments(pattern, text)) {
    out.append(s.is_match ? with : text.substr(s.begin, s.end - s.begin));
    check_growth(out.size(), limit);
  }
  return out;
}

SplitBehavior parse_split_behavior(const Place& place) {
  static constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> names{
      {{"Removed", SplitBehavior::removed},
       {"Isolated", SplitBehavior::isolated},
       {"MergedWithPrevious", SplitBehavior::merged_with_previous},
       {"MergedWithNext", SplitBehavior::merged_with_next},
       {"Contiguous", SplitBehavior::contiguous}}};
  for (const auto& [name, behavior] : names) {
    if (place.string() == name) return behavior;
  }
  place.fail("unknown behavior '" + printable(place.string()) + "'",
             "known: Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

std::vector<Match> cut(std::vector<Segment> segments, SplitBehavior behavior) {
  std::vector<Match> pieces;
  switch (behavior) {
    case SplitBehavior::removed:
      std::erase_if(segments, [](const Segment& s) { return s.is_match; });
      [[fallthrough]];
    case SplitBehavior::isolated:
      for (const Segment& s : segments) pieces.push_back({s.begin, s.end});
      return pieces;
    case SplitBehavior::contiguous:
      return join_runs(segments);
    case SplitBehavior::merged_with_previous:
      return merge_matches(segments.begin(), segments.end(),
                           [](Match& piece, const Segment& s) { piece.end = s.end; });
    case SplitBehavior::merged_with_next:
      pieces = merge_matches(segments.rbegin(), segments.rend(),
                             [](Match& piece, const Segment& s) { piece.begin = s.begin; });
      std::reverse(pieces.begin(), pieces.end());
      return pieces;
  }
  return pieces;
}

}  // namespace qsweep::model::tok
