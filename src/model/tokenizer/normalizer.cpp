#include "model/tokenizer/normalizer.hpp"

#include <array>
#include <utility>

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/byte_level.hpp"
#include "model/tokenizer/unicode_form.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

template <class Append>
std::string map_characters(std::string_view text, Append append) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    append(c.value, out);
    at += c.bytes;
  }
  return out;
}

std::string to_lower(std::string text) {
  return map_characters(text, append_lower);
}

// Only marks that stand alone go: for the accents of composed letters the file puts NFD before.
std::string strip_accents(std::string text) {
  return map_characters(text, [](char32_t c, std::string& out) {
    if (!is_mark(c)) append_utf8(c, out);
  });
}

std::string to_byte_level(std::string text) {
  return bytes_to_alphabet(text);
}

constexpr std::array<std::pair<std::string_view, Rewrite>, 7> rewrites{
    {{"NFC", to_nfc},
     {"NFD", to_nfd},
     {"NFKC", to_nfkc},
     {"NFKD", to_nfkd},
     {"Lowercase", to_lower},
     {"StripAccents", strip_accents},
     {"ByteLevel", to_byte_level}}};

std::string apply(const PrependText& step, std::string text, uint64_t) {
  return text.empty() ? text : step.text + text;
}

std::string apply(const ReplaceText& step, std::string text, uint64_t limit) {
  return replace_all(step.pattern, text, step.content, limit);
}

std::string apply(const StripSpace& step, std::string text, uint64_t) {
  size_t begin = 0;
  while (step.left && begin < text.size() && is_whitespace(decode_at(text, begin).value)) {
    begin += decode_at(text, begin).bytes;
  }
  size_t end = begin;  // behind the last character that stays
  for (size_t at = begin; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    at += c.bytes;
    if (!step.right || !is_whitespace(c.value)) end = at;
  }
  return text.substr(begin, end - begin);
}

std::string apply(Rewrite step, std::string text, uint64_t) {
  return step(std::move(text));
}

void parse_into(const Place& place, Normalizer& steps) {
  const std::string& type = place.at("type").string();
  check_steps(place, steps.size());
  for (const auto& [name, rewrite] : rewrites) {
    if (type == name) {
      steps.emplace_back(rewrite);
      return;
    }
  }
  if (type == "Sequence") {
    const Place list = place.at("normalizers");
    for (size_t i = 0; i < list.size(); ++i) parse_into(list.at(i), steps);
  } else if (type == "Prepend") {
    steps.emplace_back(PrependText{bounded_text(place.at("prepend"), max_inserted_bytes)});
  } else if (type == "Replace") {
    steps.emplace_back(ReplaceText{parse_pattern(place.at("pattern")),
                                   bounded_text(place.at("content"), max_inserted_bytes)});
  } else if (type == "Strip") {
    steps.emplace_back(
        StripSpace{place.at("strip_left").boolean(), place.at("strip_right").boolean()});
  } else {
    place.fail("unsupported normalizer '" + printable(type) + "'",
               "known: Sequence, NFC, NFD, NFKC, NFKD, Prepend, Replace, Lowercase, Strip, "
               "StripAccents, ByteLevel");
  }
}

}  // namespace

Normalizer parse_normalizer(const Place& place) {
  Normalizer steps;
  if (!place.is_null()) parse_into(place, steps);
  return steps;
}

std::string normalize(const Normalizer& normalizer, std::string text) {
  const uint64_t limit = grown_limit(text.size());
  for (const NormalizerStep& step : normalizer) {
    text = std::visit([&](const auto& s) { return apply(s, std::move(text), limit); }, step);
    check_growth(text.size(), limit);
  }
  return text;
}

}  // namespace qsweep::model::tok
