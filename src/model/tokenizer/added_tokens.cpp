#include "model/tokenizer/added_tokens.hpp"

#include <algorithm>

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

size_t code_point_before(std::string_view text, size_t at) {
  do {
    --at;
  } while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const bool word_before =
      begin > 0 && is_word(decode_at(text, code_point_before(text, begin)).value);
  const bool word_behind = end < text.size() && is_word(decode_at(text, end).value);
  return !word_before && !word_behind;
}

size_t skip_space_left(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const size_t before = code_point_before(text, begin);
    if (!is_whitespace(decode_at(text, before).value)) break;
    begin = before;
  }
  return begin;
}

// Finds where the white space at a position ends. Remembers the last run: tokens of white space
// that swallow white space would otherwise walk through a long run again and again.
class SpaceRun {
 public:
  explicit SpaceRun(std::string_view text) : text_(text) {}
  size_t end_from(size_t at) {
    if (at >= begin_ && at <= end_) return end_;
    begin_ = end_ = at;
    while (end_ < text_.size()) {
      const CodePoint c = decode_at(text_, end_);
      if (!is_whitespace(c.value)) break;
      end_ += c.bytes;
    }
    return end_;
  }

 private:
  std::string_view text_;
  size_t begin_ = 1;  // an empty run before the first call
  size_t end_ = 0;
};

AddedToken parse_token(const Place& place, const Normalizer& normalizer) {
  AddedToken token;
  token.id = static_cast<int32_t>(place.at("id").integer(0, max_token_id));
  token.content = bounded_text(place.at("content"), max_token_bytes);
  token.single_word = place.at("single_word").boolean();
  token.lstrip = place.at("lstrip").boolean();
  token.rstrip = place.at("rstrip").boolean();
  token.normalized = place.at("normalized").boolean();
  token.special = place.at("special").boolean();
  if (token.content.empty()) place.fail("empty content", "such a token would stand everywhere");
  token.pattern = token.normalized ? normalize(normalizer, token.content) : token.content;
  return token;
}

}  // namespace

AddedTokens AddedTokens::parse(const Place& place, const Vocabulary& vocabulary,
                               const Normalizer& normalizer) {
  AddedTokens added;
  Vocabulary seen;
  size_t bytes = 0;
  for (size_t i = 0; i < place.size(); ++i) {
    const Place entry = place.at(i);
    AddedToken token = parse_token(entry, normalizer);
    const auto in_model = vocabulary.id_of(token.content);
    const std::string* owner = vocabulary.token_of(token.id);
    if ((in_model && *in_model != token.id) || (owner && *owner != token.content)) {
      entry.fail("token '" + printable(token.content) + "' with id " + std::to_string(token.id) +
                     " contradicts model.vocab",
                 in_model ? "there it has id " + std::to_string(*in_model)
                          : "there the id belongs to '" + printable(*owner) + "'");
    }
    if (seen.id_of(token.content))
      entry.fail("token '" + printable(token.content) + "' stands twice", "added twice");
    if (const auto conflict = seen.add(token.content, token.id))
      entry.fail(*conflict, "added twice");
    bytes += token.pattern.size();
    if (bytes > max_added_bytes) place.fail("too many added tokens", "more than 16 MiB of content");
    const auto index = static_cast<int32_t>(added.tokens_.size());
    (token.normalized ? added.normalized_ : added.raw_).insert(token.pattern, index);
    added.by_id_.emplace(token.id, added.tokens_.size());
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

const AddedToken* AddedTokens::find(int64_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

// The search goes on behind the bytes of a match itself, not behind the space it swallowed, and a
// refused match (single_word) still uses its bytes up: both as in the reference implementation.
std::vector<AddedSegment> AddedTokens::cut(const Trie& trie, std::string_view text) const {
  std::vector<AddedSegment> segments;
  SpaceRun space(text);
  size_t covered = 0;
  for (size_t at = trie.empty() ? text.size() : 0; at < text.size();) {
    const auto [index, length] = trie.longest_at(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.lstrip)
      begin = std::max(covered, skip_space_left(text, begin, std::min(covered, begin)));
    if (token.rstrip) end = space.end_from(end);
    if (covered < begin) segments.push_back({covered, begin, nullptr});
    if (begin < end)
      segments.push_back({begin, end, &token});  // else the match before swallowed it
    covered = end;
  }
  if (covered < text.size()) segments.push_back({covered, text.size(), nullptr});
  return segments;
}

void AddedTokens::Trie::insert(std::string_view pattern, int32_t token) {
  if (pattern.empty()) return;  // normalized away: can never be found
  starts[static_cast<uint8_t>(pattern[0])] = true;
  uint32_t node = 0;
  for (const char byte : pattern) {
    const uint64_t edge = uint64_t{node} << 8 | static_cast<uint8_t>(byte);
    const auto [it, inserted] = edges.emplace(edge, static_cast<uint32_t>(token_at.size()));
    if (inserted) token_at.push_back(-1);
    node = it->second;
  }
  token_at[node] = token;
}

std::pair<int32_t, size_t> AddedTokens::Trie::longest_at(std::string_view text, size_t at) const {
  std::pair<int32_t, size_t> longest{-1, 0};
  if (!starts[static_cast<uint8_t>(text[at])]) return longest;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto it = edges.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[i]));
    if (it == edges.end()) break;
    node = it->second;
    if (token_at[node] >= 0) longest = {token_at[node], i + 1 - at};
  }
  return longest;
}

}  // namespace qsweep::model::tok
