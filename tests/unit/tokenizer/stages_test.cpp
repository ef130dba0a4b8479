// Each stage before and behind the model, on texts small enough to follow by hand.
#include "model/tokenizer/decoder.hpp"
#include "model/tokenizer/normalizer.hpp"
#include "model/tokenizer/pre_tokenizer.hpp"
#include "model/tokenizer/unicode_form.hpp"
#include "model/tokenizer/utf8.hpp"
#include "unit/tokenizer/support.hpp"

namespace qsweep::model::tok {
namespace {

using test::json;
using Words = std::vector<std::string>;

std::string normalized(const char* config, const std::string& text) {
  const json document = json::parse(config);
  return normalize(parse_normalizer(Place(document, "normalizer")), text);
}

Words words(const json& config, const std::string& text, bool at_start = true) {
  Words out;
  for (Word& word :
       pre_tokenize(parse_pre_tokenizer(Place(config, "pre_tokenizer")), {text, at_start})) {
    out.push_back(std::move(word.text));
  }
  return out;
}

Words words(const char* config, const std::string& text, bool at_start = true) {
  return words(json::parse(config), text, at_start);
}

std::string decoded(const char* config, Words tokens) {
  const json document = json::parse(config);
  return decode(parse_decoder(Place(document, "decoder")), std::move(tokens));
}

json split(const std::string& kind, const std::string& pattern, const std::string& behavior,
           bool invert = false) {
  return {{"type", "Split"},
          {"pattern", {{kind, pattern}}},
          {"behavior", behavior},
          {"invert", invert}};
}

TEST(Normalizer, UnicodeForms) {
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\u0301"), "\u00e9");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "\u00e9"), "e\u0301");
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "\ufb01\u00b2"), "fi2");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "\u1e9b\u0323"), "s\u0323\u0307");
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "\u212b\u2126\u1100\u1161\u11a8"),
            "\u00c5\u03a9\uac01");
  EXPECT_EQ(to_nfc("a\u0315\u0300\u05ae\u0300b"),
            "\u00e0\u05ae\u0300\u0315b");  // UAX #15 test line
}

TEST(Normalizer, TheVowelBeforeTheTrailingConsonantsIsNoTrailingConsonant) {
  // U+AC00 U+11A7: nothing composes; U+AC00 U+11A8 does.
  EXPECT_EQ(to_nfc("\uac00\u11a7"), "\uac00\u11a7");
  EXPECT_EQ(to_nfc("\u11a7\u11a7e\u0301\uac00\u11a8"), "\u11a7\u11a7\u00e9\uac01");
}

TEST(Normalizer, AMegabyteOfMarksIsSorted) {
  // Classes 230 and 220 in turn: exchanging neighbours would take 3*10^10 steps.
  std::string text = "a";
  for (int i = 0; i < 250'000; ++i) text += "\u0301\u0316";
  const std::string form = to_nfd(text);
  EXPECT_EQ(form.size(), text.size());
  EXPECT_EQ(form.substr(0, 5), "a\u0316\u0316");
  EXPECT_EQ(form.substr(form.size() - 4), "\u0301\u0301");
}

TEST(Normalizer, ReplaceLowercaseStripAccents) {
  EXPECT_EQ(
      normalized(R"({"type": "Replace", "pattern": {"String": "aa"}, "content": "b"})", "aaaca"),
      "baca");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "_"})",
                       "a \u3000b"),
            "a_b");
  EXPECT_EQ(normalized(R"({"type": "Lowercase"})", "ÀΣİ"), "àσi\u0307");
  EXPECT_EQ(
      normalized(
          R"({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]})",
          "éü"),
      "eu");
  EXPECT_EQ(
      normalized(R"({"type": "Strip", "strip_left": true, "strip_right": false})", " \u00a0a "),
      "a ");
  EXPECT_EQ(normalized(R"({"type": "Strip", "strip_left": false, "strip_right": true})", " a \n"),
            " a");
  EXPECT_EQ(normalized(R"({"type": "Strip", "strip_left": true, "strip_right": true})", "  "), "");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", ""), "");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", "a"), "▁a");
}

TEST(Split, TheFiveBehaviorsAndTheirInverse) {
  const std::string text = "the-final--countdown";  // the example of the format's documentation
  EXPECT_EQ(words(split("String", "-", "Removed"), text), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(words(split("String", "-", "Isolated"), text),
            (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(words(split("String", "-", "MergedWithPrevious"), text),
            (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(words(split("String", "-", "MergedWithNext"), text),
            (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(words(split("String", "-", "Contiguous"), text),
            (Words{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(words(split("String", "-", "Removed", true), text), (Words{"-", "-", "-"}));
  EXPECT_EQ(words(split("Regex", "[a-z]+", "Removed", true), text),
            (Words{"the", "final", "countdown"}));
  EXPECT_EQ(words(split("String", ".", "Isolated"), "a.b"), (Words{"a", ".", "b"}));  // not a regex
}

TEST(Split, PatternOfLlama3) {
  const char* pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const auto cut = [&](const std::string& text) {
    return words(split("Regex", pattern, "Isolated"), text);
  };
  EXPECT_EQ(cut("a   b"), (Words{"a", "  ", " b"}));  // the last blank goes to the next word
  EXPECT_EQ(cut("12345"), (Words{"123", "45"}));
  EXPECT_EQ(cut("\"so\tit"), (Words{"\"so", "\tit"}));  // any one symbol before letters
  EXPECT_EQ(cut("a \n \n  b"), (Words{"a", " \n \n", " ", " b"}));
  EXPECT_EQ(cut("I'LL he'ſ"), (Words{"I", "'LL", " he", "'ſ"}));  // long s folds to s
  EXPECT_EQ(cut("a\u00a0\u3000b"), (Words{"a", "\u00a0", "\u3000b"}));
  EXPECT_EQ(cut("!?\n\nx "), (Words{"!?\n\n", "x", " "}));
}

TEST(Split, RegexMeansWhatOnigurumaMeans) {
  const auto cut = [](const char* pattern, const std::string& text) {
    return words(split("Regex", pattern, "Isolated"), text);
  };
  EXPECT_EQ(cut(R"(\s+)", "a\u180eb\u0085c"),
            (Words{"a\u180eb", "\u0085", "c"}));                  // U+180E is no space
  EXPECT_EQ(cut(R"(\w+)", "e\u0301-"), (Words{"e\u0301", "-"}));  // marks are words
  EXPECT_EQ(cut("a{1,2}+", "aaab"), (Words{"aaa", "b"}));         // repeated, not possessive
  EXPECT_EQ(cut("x{,2}y", "xxxy"), (Words{"x", "xxy"}));
  EXPECT_EQ(cut("^b", "a\nb"), (Words{"a\n", "b"}));      // ^ at every line
  EXPECT_EQ(cut("(?m)a.", "a\nb"), (Words{"a\n", "b"}));  // m lets the dot match line feeds
  EXPECT_EQ(cut(R"(\h+)", "xab1"), (Words{"x", "ab1"}));  // hex digits
  EXPECT_EQ(cut(R"(\u0041)", "bAb"), (Words{"b", "A", "b"}));
  EXPECT_EQ(cut(R"(\p{Han}+)", "漢、字"), (Words{"漢", "、", "字"}));
  EXPECT_EQ(cut("x*", "axxb"), (Words{"a", "xx", "b"}));  // empty matches cut, too
}

TEST(ByteLevel, AlphabetPrefixAndRegex) {
  EXPECT_EQ(words(R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true})",
                  "a b'll\n é"),
            (Words{"a", "Ġb", "'ll", "Ċ", "ĠÃ©"}));
  EXPECT_EQ(words(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})", "a b"),
            (Words{"ĠaĠb"}));
  EXPECT_EQ(words(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})", " a"),
            (Words{"Ġa"}));
}

TEST(PreTokenizer, DigitsPunctuationWhitespace) {
  EXPECT_EQ(words(R"({"type": "Digits", "individual_digits": true})", "a12Ⅷ"),
            (Words{"a", "1", "2", "Ⅷ"}));
  EXPECT_EQ(words(R"({"type": "Digits", "individual_digits": false})", "a12b"),
            (Words{"a", "12", "b"}));
  EXPECT_EQ(words(R"({"type": "Punctuation"})", "a$…b"), (Words{"a", "$", "…", "b"}));
  EXPECT_EQ(words(R"({"type": "Punctuation", "behavior": "Contiguous"})", "a?!b"),
            (Words{"a", "?!", "b"}));
  EXPECT_EQ(words(R"({"type": "Whitespace"})", " a_1 +-b\u3000"), (Words{"a_1", "+-", "b"}));
  EXPECT_EQ(words(R"({"type": "WhitespaceSplit"})", " a+ \n b"), (Words{"a+", "b"}));
  EXPECT_EQ(words(R"({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
                      {"type": "Digits", "individual_digits": true}]})",
                  "a1 b"),
            (Words{"a", "1", "b"}));
}

TEST(Metaspace, SchemesAndSplitting) {
  const auto cut = [](const char* scheme, bool split, const std::string& text, bool at_start) {
    const json config = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", split}};
    return words(config, text, at_start);
  };
  EXPECT_EQ(cut("always", true, "a  b", false), (Words{"▁a", "▁", "▁b"}));
  EXPECT_EQ(cut("first", true, "a b", false), (Words{"a", "▁b"}));
  EXPECT_EQ(cut("first", true, "a b", true), (Words{"▁a", "▁b"}));
  EXPECT_EQ(cut("never", true, "a b", true), (Words{"a", "▁b"}));
  EXPECT_EQ(cut("always", false, " a b", true), (Words{"▁a▁b"}));
}

TEST(Decoder, ByteLevelJoinsBeforeItReadsUtf8) {
  const char* config = R"({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true})";
  EXPECT_EQ(decoded(config, {"Ã", "©", "Ġa"}), "é a");
  EXPECT_EQ(decoded(config, {"Ã", "a"}), "\uFFFDa");
  EXPECT_EQ(decoded(config, {"<|é漢|>"}), "<|é漢|>");  // outside the alphabet: its own bytes
}

TEST(Decoder, LlamaSequence) {
  const char* config = R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
      {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";
  EXPECT_EQ(decoded(config, {"▁▁a", "▁b"}), " a b");
  EXPECT_EQ(decoded(config, {"<0xC3>", "<0xA9>", "a"}), "éa");
  EXPECT_EQ(decoded(config, {"<0xC3>", "<0xA9>", "<0xC3>", "a"}),
            "\uFFFD\uFFFD\uFFFDa");  // one a byte
  EXPECT_EQ(decoded(config, {"<0xZZ>"}), "<0xZZ>");
}

TEST(Decoder, StripAndMetaspace) {
  EXPECT_EQ(
      decoded(R"({"type": "Strip", "content": "é", "start": 2, "stop": 1})", {"éééaéé", "é", ""}),
      "éaé");
  const char* metaspace =
      R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"})";
  EXPECT_EQ(decoded(metaspace, {"▁a", "▁b"}), "a b");
  EXPECT_EQ(decoded(R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})",
                    {"▁a", "▁b"}),
            " a b");
}

}  // namespace
}  // namespace qsweep::model::tok
