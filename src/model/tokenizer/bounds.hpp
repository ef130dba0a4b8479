// What a tokenizer.json may ask for. Published files stay far below; without bounds a small file
// could make a small text endless: steps that double it, long texts put before every piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/tokenizer/strict_json.hpp"

namespace qsweep::model::tok {

inline constexpr size_t max_steps = 64;               // of a normalizer, pre-tokenizer, decoder
inline constexpr size_t max_inserted_bytes = 256;     // prefix, suffix, replacement
inline constexpr size_t max_token_bytes = 4096;       // the longest published ones have about 256
inline constexpr size_t max_added_bytes = 16u << 20;  // all added tokens together
inline constexpr size_t max_template_ids = 1024;      // special tokens around a text
inline constexpr uint64_t max_text_bytes = uint64_t{1} << 30;  // of a text, or what ids decode to

// A text of `bytes` may become 32 times as long in the stages before the model (the longest
// decomposition of a character gives 11 times its bytes), a short one somewhat more.
constexpr uint64_t grown_limit(uint64_t bytes) {
  return 32 * bytes + (1u << 16);
}
// Throws Error{invalid_input} where a stage passes the limit.
void check_growth(uint64_t bytes, uint64_t limit);

// The member as text of at most `most` bytes.
std::string bounded_text(const Place& place, size_t most);
// Adds no step beyond max_steps.
void check_steps(const Place& place, size_t steps);

}  // namespace qsweep::model::tok
