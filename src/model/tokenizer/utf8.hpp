// UTF-8 and the Unicode classes that tokenizers speak of. Everything behind `sanitize_utf8` may
// rely on valid UTF-8: decode_at() on valid text never reads past the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace qsweep::model::tok {

struct CodePoint {
  char32_t value;
  uint32_t bytes;  // length of its UTF-8 form, 1..4
};

// Each maximal ill-formed part becomes one U+FFFD (Unicode 15 table 3-8): errors='replace' in
// Python.
std::string sanitize_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);
bool is_ascii(std::string_view text);

CodePoint decode_at(std::string_view valid_utf8, size_t at);  // at < size, on a boundary
void append_utf8(char32_t value, std::string& out);
size_t count_code_points(std::string_view valid_utf8);

// For messages: control characters escaped, at most `max_bytes` of a long text and then "...".
std::string printable(std::string_view valid_utf8, size_t max_bytes = 80);

bool is_whitespace(char32_t c);   // White_Space
bool is_numeric(char32_t c);      // Nd, Nl, No
bool is_word(char32_t c);         // Alphabetic, Mark, Nd, Pc, Join_Control: \w of UTS #18
bool is_punctuation(char32_t c);  // P*, and the ASCII symbols that C's ispunct() counts
bool is_mark(char32_t c);         // Mn, Mc, Me
void append_lower(char32_t c, std::string& out);  // full mapping of one character, without context

}  // namespace qsweep::model::tok
