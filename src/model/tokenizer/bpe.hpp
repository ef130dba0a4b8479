// Byte-pair encoding (Sennrich et al. 2016) of one word: its characters, then again and again the
// adjacent pair of lowest rank, the leftmost of equals, until no pair is in the list. A heap over a
// linked list makes this O(n log n) for n characters; a word may be a whole document.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/strict_json.hpp"
#include "model/tokenizer/vocabulary.hpp"

namespace qsweep::model::tok {

struct Merge {
  uint32_t rank;
  int32_t id;  // of the joined token
};

struct PairHash {
  // Fibonacci multiplier: the ids of a pair are small and would fill few buckets.
  size_t operator()(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15ull) >> 16; }
};

class Bpe {
 public:
  static Bpe parse(const Place& model);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  void encode(std::string_view word, std::vector<int32_t>& ids) const;

 private:
  // A token that stands in the word; removed ones have id -1. Links are indices, -1 at the ends.
  struct Symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
  };
  struct Candidate {
    uint32_t rank;
    int32_t position;  // of the left symbol
    int32_t id;
  };

  void parse_merges(const Place& merges);
  void add_merge(std::string_view left, std::string_view right, uint32_t rank, const Place& merges);
  void find_byte_tokens();

  std::vector<Symbol> initial_symbols(std::string_view word) const;
  bool append_bytes(std::string_view character, std::vector<Symbol>& symbols) const;
  void merge_all(std::vector<Symbol>& symbols) const;
  const Merge* merge_of(int32_t left, int32_t right) const;

  Vocabulary vocabulary_;
  std::unordered_map<uint64_t, Merge, PairHash> merges_;  // key: left id << 32 | right id
  std::array<int32_t, 256> byte_tokens_{};                // id of "<0xHH>", -1 where there is none
  std::optional<int32_t> unknown_id_;
  std::string continuing_prefix_;
  std::string end_suffix_;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace qsweep::model::tok
