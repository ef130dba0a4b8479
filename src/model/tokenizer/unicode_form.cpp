#include "model/tokenizer/unicode_form.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

using Char = utf8proc_int32_t;

// Appends the full decomposition of one character.
void decompose(Char c, int options, std::vector<Char>& out) {
  Char buffer[32];  // the longest full decomposition is 18 characters (U+FDFA)
  int boundary = 0;
  const auto count = utf8proc_decompose_char(c, buffer, std::size(buffer),
                                             static_cast<utf8proc_option_t>(options), &boundary);
  expect(count >= 0 && count <= static_cast<utf8proc_ssize_t>(std::size(buffer)),
         "a character decomposes into at most 32 characters");
  out.insert(out.end(), buffer, buffer + count);
}

// Puts each run of combining marks into canonical order. utf8proc_decompose would do it by
// exchanging neighbours, which takes quadratic time on a text of nothing but marks.
void order_marks(std::vector<Char>& chars) {
  const auto combining_class = [](Char c) { return utf8proc_get_property(c)->combining_class; };
  for (size_t begin = 0; begin < chars.size();) {
    size_t end = begin;
    while (end < chars.size() && combining_class(chars[end]) != 0) ++end;
    if (end - begin > 1) {
      std::stable_sort(chars.begin() + static_cast<ptrdiff_t>(begin),
                       chars.begin() + static_cast<ptrdiff_t>(end),
                       [&](Char a, Char b) { return combining_class(a) < combining_class(b); });
    }
    begin = end + 1;
  }
}

// Canonical composition, in parts that begin at U+11A7: this vowel stands right before the trailing
// consonants of Hangul, and utf8proc 2.8 takes it for one and drops it. It composes with
// nothing on either side, so the parts are independent.
void compose_all(std::vector<Char>& chars, int options) {
  constexpr Char before_trailing_consonants = 0x11A7;
  std::vector<Char> out;
  out.reserve(chars.size());
  for (size_t begin = 0; begin < chars.size();) {
    size_t end = begin + 1;
    while (end < chars.size() && chars[end] != before_trailing_consonants) ++end;
    const auto count =
        utf8proc_normalize_utf32(chars.data() + begin, static_cast<utf8proc_ssize_t>(end - begin),
                                 static_cast<utf8proc_option_t>(options));
    expect(count >= 0, "composition of decomposed text does not fail");
    const auto first = chars.begin() + static_cast<ptrdiff_t>(begin);
    out.insert(out.end(), first, first + count);
    begin = end;
  }
  chars = std::move(out);
}

std::string to_form(std::string text, bool compatible, bool compose) {
  if (is_ascii(text)) return text;
  const int options = UTF8PROC_STABLE | (compatible ? UTF8PROC_COMPAT : 0) |
                      (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  // The per-character step only ever decomposes; composing is the last step over the whole text.
  const int decompose_options = (options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE;
  std::vector<Char> chars;
  chars.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    if (c.value < 0x80) {
      chars.push_back(static_cast<Char>(c.value));
    } else {
      decompose(static_cast<Char>(c.value), decompose_options, chars);
    }
    at += c.bytes;
  }
  order_marks(chars);
  if (compose) compose_all(chars, options);
  std::string out;
  out.reserve(text.size());
  for (const Char c : chars) append_utf8(static_cast<char32_t>(c), out);
  return out;
}

}  // namespace

std::string to_nfc(std::string text) {
  return to_form(std::move(text), false, true);
}
std::string to_nfd(std::string text) {
  return to_form(std::move(text), false, false);
}
std::string to_nfkc(std::string text) {
  return to_form(std::move(text), true, true);
}
std::string to_nfkd(std::string text) {
  return to_form(std::move(text), true, false);
}

}  // namespace qsweep::model::tok
