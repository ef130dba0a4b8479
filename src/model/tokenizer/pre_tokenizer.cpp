#include "model/tokenizer/pre_tokenizer.hpp"

#include <algorithm>
#include <utility>

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/byte_level.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

constexpr std::string_view gpt2_words =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void emit(const Word& word, const std::vector<Match>& pieces, std::vector<Word>& out) {
  for (const Match& piece : pieces) {
    if (piece.begin == piece.end) continue;
    out.push_back({word.text.substr(piece.begin, piece.end - piece.begin),
                   word.at_start && piece.begin == 0});
  }
}

void apply(const SplitStep& step, Word word, std::vector<Word>& out) {
  auto parts = segments(step.pattern, word.text);
  if (step.invert) {
    for (Segment& part : parts) part.is_match = !part.is_match;
  }
  emit(word, cut(std::move(parts), step.behavior), out);
}

void apply(const ByteLevelStep& step, Word word, std::vector<Word>& out) {
  if (step.add_prefix_space && !word.text.starts_with(' ')) word.text = " " + word.text;
  const size_t first_new = out.size();
  if (step.words.empty()) {
    out.push_back(std::move(word));
  } else {
    emit(word, cut(segments(step.words.front(), word.text), SplitBehavior::isolated), out);
  }
  for (size_t i = first_new; i < out.size(); ++i) out[i].text = bytes_to_alphabet(out[i].text);
}

void apply(const MetaspaceStep& step, Word word, std::vector<Word>& out) {
  word.text = replace_all(Literal{" "}, word.text, step.replacement, grown_limit(word.text.size()));
  const bool wanted = step.prepend == PrependScheme::always ||
                      (step.prepend == PrependScheme::first && word.at_start);
  if (wanted && !word.text.starts_with(step.replacement)) word.text = step.replacement + word.text;
  if (!step.split) {
    out.push_back(std::move(word));
    return;
  }
  emit(word, cut(segments(Literal{step.replacement}, word.text), SplitBehavior::merged_with_next),
       out);
}

void apply(const WordRunsStep&, Word word, std::vector<Word>& out) {
  enum class Kind { space, letter, other };
  const auto kind_of = [](char32_t c) {
    return is_word(c) ? Kind::letter : is_whitespace(c) ? Kind::space : Kind::other;
  };
  std::vector<Match> runs;
  Kind previous = Kind::space;
  for (size_t at = 0; at < word.text.size();) {
    const CodePoint c = decode_at(word.text, at);
    const Kind kind = kind_of(c.value);
    if (kind != Kind::space) {
      if (kind == previous) {
        runs.back().end = at + c.bytes;
      } else {
        runs.push_back({at, at + c.bytes});
      }
    }
    previous = kind;
    at += c.bytes;
  }
  emit(word, runs, out);
}

bool boolean_or(const Place& place, std::string_view key, bool otherwise) {
  const auto member = place.find(key);
  return member ? member->boolean() : otherwise;
}

SplitStep split_at(CharacterClass contains, SplitBehavior behavior) {
  return {Pattern(contains), behavior, false};
}

void parse_into(const Place& place, PreTokenizer& steps) {
  const std::string& type = place.at("type").string();
  check_steps(place, steps.size());
  if (type == "Sequence") {
    const Place list = place.at("pretokenizers");
    for (size_t i = 0; i < list.size(); ++i) parse_into(list.at(i), steps);
  } else if (type == "ByteLevel") {
    ByteLevelStep step{place.at("add_prefix_space").boolean(), {}};
    if (boolean_or(place, "use_regex", true)) step.words.emplace_back(gpt2_words, place.path());
    steps.emplace_back(std::move(step));
  } else if (type == "Split") {
    steps.emplace_back(SplitStep{parse_pattern(place.at("pattern")),
                                 parse_split_behavior(place.at("behavior")),
                                 place.at("invert").boolean()});
  } else if (type == "Digits") {
    steps.emplace_back(split_at(is_numeric, place.at("individual_digits").boolean()
                                                ? SplitBehavior::isolated
                                                : SplitBehavior::contiguous));
  } else if (type == "Metaspace") {
    steps.emplace_back(parse_metaspace(place));
  } else if (type == "Whitespace") {
    steps.emplace_back(WordRunsStep{});
  } else if (type == "WhitespaceSplit") {
    steps.emplace_back(split_at(is_whitespace, SplitBehavior::removed));
  } else if (type == "Punctuation") {
    const auto behavior = place.find("behavior");
    steps.emplace_back(split_at(
        is_punctuation, behavior ? parse_split_behavior(*behavior) : SplitBehavior::isolated));
  } else {
    place.fail("unsupported pre_tokenizer '" + printable(type) + "'",
               "known: Sequence, ByteLevel, Split, Digits, Metaspace, Whitespace, WhitespaceSplit, "
               "Punctuation");
  }
}

}  // namespace

MetaspaceStep parse_metaspace(const Place& place) {
  MetaspaceStep step{place.at("replacement").string(), PrependScheme::always,
                     boolean_or(place, "split", true)};
  place.at("replacement").character();
  if (const auto scheme = place.find("prepend_scheme")) {
    if (scheme->string() == "first") {
      step.prepend = PrependScheme::first;
    } else if (scheme->string() == "never") {
      step.prepend = PrependScheme::never;
    } else if (scheme->string() != "always") {
      scheme->fail("unknown prepend_scheme '" + printable(scheme->string()) + "'",
                   "known: always, first, never");
    }
    if (!boolean_or(place, "add_prefix_space", true) && step.prepend != PrependScheme::never) {
      place.fail("add_prefix_space is false but prepend_scheme is not 'never'", "they contradict");
    }
  } else if (!boolean_or(place, "add_prefix_space", true)) {
    step.prepend = PrependScheme::never;  // files from before prepend_scheme
  }
  return step;
}

PreTokenizer parse_pre_tokenizer(const Place& place) {
  PreTokenizer steps;
  if (!place.is_null()) parse_into(place, steps);
  return steps;
}

std::vector<Word> pre_tokenize(const PreTokenizer& steps, Word text) {
  std::vector<Word> words;
  if (text.text.empty()) return words;  // nothing to prefix
  const uint64_t limit = grown_limit(text.text.size());
  words.push_back(std::move(text));
  for (const PreTokenizerStep& step : steps) {
    std::vector<Word> next;
    next.reserve(words.size());
    for (Word& word : words) {
      std::visit([&](const auto& s) { apply(s, std::move(word), next); }, step);
    }
    words = std::move(next);
    uint64_t bytes = 0;
    for (const Word& word : words) bytes += word.text.size();
    check_growth(bytes, limit);
  }
  std::erase_if(words, [](const Word& word) { return word.text.empty(); });
  return words;
}

}  // namespace qsweep::model::tok
