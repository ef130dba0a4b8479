#include "model/tokenizer/bpe.hpp"

#include <limits>
#include <queue>

#include "base/error.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void Bpe::encode(std::string_view word, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto id = vocabulary_.id_of(word)) {
      ids.push_back(*id);
      return;
    }
  }
  std::vector<Symbol> symbols = initial_symbols(word);
  merge_all(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id >= 0) ids.push_back(symbol.id);
  }
}

// One symbol a character. A character that is not in the vocabulary becomes its bytes, or the
// unknown token, or nothing.
std::vector<Bpe::Symbol> Bpe::initial_symbols(std::string_view word) const {
  if (word.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    throw_invalid("a word of " + std::to_string(word.size()) + " bytes cannot be encoded",
                  "at most 2^31 - 2", "encode the text in parts");
  }
  std::vector<Symbol> symbols;
  symbols.reserve(word.size());
  size_t pending_unknown = 0;
  const auto flush_unknown = [&] {
    for (; pending_unknown > 0; --pending_unknown) symbols.push_back({*unknown_id_, 0, 0});
  };
  std::string decorated;
  for (size_t at = 0; at < word.size();) {
    const size_t bytes = decode_at(word, at).bytes;
    std::string_view character = word.substr(at, bytes);
    const bool prefixed = at > 0 && !continuing_prefix_.empty();
    const bool suffixed = at + bytes == word.size() && !end_suffix_.empty();
    if (prefixed || suffixed) {
      decorated.assign(prefixed ? continuing_prefix_ : "").append(character);
      decorated.append(suffixed ? end_suffix_ : "");
      character = decorated;
    }
    at += bytes;
    if (const auto id = vocabulary_.id_of(character)) {
      flush_unknown();
      symbols.push_back({*id, 0, 0});
    } else if (byte_fallback_ && append_bytes(character, symbols)) {
      // An unknown token that waits stays behind these bytes, as in the reference implementation.
    } else if (unknown_id_) {
      if (!fuse_unknown_) flush_unknown();
      pending_unknown = 1;
    }
  }
  flush_unknown();
  const auto count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[static_cast<size_t>(i)].previous = i - 1;
    symbols[static_cast<size_t>(i)].next = i + 1 < count ? i + 1 : -1;
  }
  return symbols;
}

bool Bpe::append_bytes(std::string_view character, std::vector<Symbol>& symbols) const {
  for (const char byte : character) {
    if (byte_tokens_[static_cast<uint8_t>(byte)] < 0) return false;
  }
  for (const char byte : character)
    symbols.push_back({byte_tokens_[static_cast<uint8_t>(byte)], 0, 0});
  return true;
}

void Bpe::merge_all(std::vector<Symbol>& symbols) const {
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  std::vector<Candidate> storage;
  const auto candidate_at = [&](int32_t position) -> std::optional<Candidate> {
    const Symbol& left = symbols[static_cast<size_t>(position)];
    if (left.next < 0) return std::nullopt;
    const Merge* merge = merge_of(left.id, symbols[static_cast<size_t>(left.next)].id);
    if (!merge) return std::nullopt;
    return Candidate{merge->rank, position, merge->id};
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) {
    if (const auto candidate = candidate_at(i)) storage.push_back(*candidate);
  }
  std::priority_queue queue(later, std::move(storage));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<size_t>(best.position)];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.next)];
    // The pair may have changed since it was queued; every new pair has an entry of its own.
    const Merge* merge = merge_of(left.id, right.id);
    if (!merge || merge->id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.position;
    if (left.previous >= 0) {
      if (const auto candidate = candidate_at(left.previous)) queue.push(*candidate);
    }
    if (const auto candidate = candidate_at(best.position)) queue.push(*candidate);
  }
}

const Merge* Bpe::merge_of(int32_t left, int32_t right) const {
  const auto it = merges_.find(pair_key(left, right));
  return it == merges_.end() ? nullptr : &it->second;
}

void Bpe::find_byte_tokens() {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (size_t byte = 0; byte < 256; ++byte) {
    const std::string name{'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
    byte_tokens_[byte] = vocabulary_.id_of(name).value_or(-1);
  }
}

}  // namespace qsweep::model::tok
