// Tokens that are cut out of the text before the model sees it: <|endoftext|>, <|user|>, runs of
// blanks. Those with normalized=false are found in the raw text, the others in the normalized text
// by their own normalized form; in both cases leftmost-longest.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/normalizer.hpp"
#include "model/tokenizer/strict_json.hpp"
#include "model/tokenizer/vocabulary.hpp"

namespace qsweep::model::tok {

struct AddedToken {
  int32_t id;
  std::string content;
  std::string pattern;  // what is searched for: content, or its normalized form
  bool single_word;     // only where no word character stands beside it
  bool lstrip;          // takes the white space before it
  bool rstrip;          // takes the white space behind it
  bool normalized;
  bool special;
};

// A piece of text (token == nullptr) or an added token; bytes, half-open.
struct AddedSegment {
  size_t begin;
  size_t end;
  const AddedToken* token;
};

class AddedTokens {
 public:
  // `vocabulary` is the model's: an added token may be in it, then under the same id.
  static AddedTokens parse(const Place& place, const Vocabulary& vocabulary,
                           const Normalizer& normalizer);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* find(int64_t id) const;

  // Cuts the raw text at the tokens with normalized=false.
  std::vector<AddedSegment> cut_raw(std::string_view text) const { return cut(raw_, text); }
  // Cuts a normalized piece at the others.
  std::vector<AddedSegment> cut_normalized(std::string_view text) const {
    return cut(normalized_, text);
  }

 private:
  // Trie over bytes: edges[node << 8 | byte] is the next node; token_at[node] indexes tokens_, or
  // -1.
  struct Trie {
    std::unordered_map<uint64_t, uint32_t> edges;
    std::vector<int32_t> token_at{-1};
    bool starts[256] = {};

    bool empty() const { return token_at.size() == 1; }
    void insert(std::string_view pattern, int32_t token);
    // Longest token at `at` as an index of tokens_ and its length in bytes, or {-1, 0}.
    std::pair<int32_t, size_t> longest_at(std::string_view text, size_t at) const;
  };

  std::vector<AddedSegment> cut(const Trie& trie, std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int64_t, size_t> by_id_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace qsweep::model::tok
