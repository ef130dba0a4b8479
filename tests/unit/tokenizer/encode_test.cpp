// Encode and decode as a whole on tokenizers small enough to follow by hand.
#include <thread>

#include "unit/tokenizer/support.hpp"

namespace qsweep::model {
namespace {

using test::added_token;
using test::byte_document;
using test::Ids;
using test::json;
using test::load_text;
using test::small_document;

Tokenizer with_added(std::vector<json> tokens) {
  json document = small_document();
  document["added_tokens"] = tokens;
  return load_text(document.dump());
}

json with(json token, const char* flag) {
  token[flag] = true;
  return token;
}

TEST(Bpe, LowestRankFirstThenLeftmost) {
  const Tokenizer tokenizer = load_text(small_document().dump());
  EXPECT_EQ(tokenizer.encode("abc", false), (Ids{5}));  // ab, then ab+c; not a, bc
  EXPECT_EQ(tokenizer.encode("bcabcb", false), (Ids{6, 5, 1}));
  EXPECT_EQ(tokenizer.encode("", true), Ids{});
  json document = small_document();
  document["model"]["vocab"] = {{"a", 0}, {"aa", 1}};
  document["model"]["merges"] = json::parse(R"([["a", "a"]])");
  EXPECT_EQ(load_text(document.dump()).encode("aaa", false), (Ids{1, 0}));
}

TEST(Bpe, LegacyMergesAreTheSame) {
  json document = small_document();
  document["model"]["merges"] = {"#version: 0.2", "a b", "b c", "ab c"};
  EXPECT_EQ(load_text(document.dump()).encode("bcabcb", false), (Ids{6, 5, 1}));
}

TEST(Bpe, MergesMayHoldBlanks) {
  json document = small_document();
  document["model"]["vocab"]["c a"] = 7;
  document["model"]["vocab"]["c "] = 8;
  document["model"]["merges"] = json::parse(R"([["c", " "], ["c ", "a"]])");
  EXPECT_EQ(load_text(document.dump()).encode("bc a", false), (Ids{1, 7}));
}

TEST(Bpe, CharactersWithoutTokenAreDroppedUnlessUnknownIsNamed) {
  json document = small_document();
  EXPECT_EQ(load_text(document.dump()).encode("axxb", false),
            (Ids{4}));  // a and b become neighbours
  document["model"]["vocab"]["<unk>"] = 7;
  document["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(load_text(document.dump()).encode("axxb", false), (Ids{0, 7, 7, 1}));
  document["model"]["fuse_unk"] = true;
  EXPECT_EQ(load_text(document.dump()).encode("axxbx", false), (Ids{0, 7, 1, 7}));
}

TEST(Bpe, ByteFallbackNeedsEveryByteOfTheCharacter) {
  json document = small_document();
  document["model"]["byte_fallback"] = true;
  document["model"]["unk_token"] = "c";
  document["model"]["vocab"]["<0xC3>"] = 7;
  document["model"]["vocab"]["<0xA9>"] = 8;
  const Tokenizer tokenizer = load_text(document.dump());
  EXPECT_EQ(tokenizer.encode("aéa", false), (Ids{0, 7, 8, 0}));  // U+00E9 is C3 A9
  EXPECT_EQ(tokenizer.encode("aèa", false), (Ids{0, 2, 0}));  // U+00E8 is C3 A8, which is missing
}

TEST(Bpe, IgnoreMergesTakesAWholeWordFromTheVocabulary) {
  json document = small_document();
  document["model"]["vocab"]["ca"] = 7;  // no merge leads there
  EXPECT_EQ(load_text(document.dump()).encode("ca", false), (Ids{2, 0}));
  document["model"]["ignore_merges"] = true;
  EXPECT_EQ(load_text(document.dump()).encode("ca", false), (Ids{7}));
  EXPECT_EQ(load_text(document.dump()).encode("caab", false), (Ids{2, 0, 4}));
}

TEST(Bpe, PrefixAndSuffixMarkThePlaceInTheWord) {
  json document = small_document();
  document["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  document["model"]["continuing_subword_prefix"] = "##";
  document["model"]["end_of_word_suffix"] = "</w>";
  document["model"]["vocab"] = {{"a", 0}, {"##b", 1}, {"##b</w>", 2}, {"ab</w>", 3}, {"a</w>", 4}};
  document["model"]["merges"] = json::parse(R"([["a", "##b</w>"]])");
  EXPECT_EQ(load_text(document.dump()).encode("ab abb a", false), (Ids{3, 0, 1, 2, 4}));
}

TEST(AddedTokens, LeftmostThenLongest) {
  const Tokenizer tokenizer = with_added({added_token(7, "<x>"), added_token(8, "<x><y>")});
  EXPECT_EQ(tokenizer.encode("a<x><y>b<x>", false), (Ids{0, 8, 1, 7}));
  EXPECT_EQ(tokenizer.decode(Ids{0, 8, 1, 7}), "a<x><y>b<x>");
  EXPECT_EQ(tokenizer.decode(Ids{0, 8, 1, 7}, true), "ab");
}

TEST(AddedTokens, StripSwallowsSpaceIncludingUnicodeSpace) {
  const Tokenizer right = with_added({with(added_token(7, "<x>"), "rstrip")});
  EXPECT_EQ(right.encode(" <x> \n\u3000 a", false), (Ids{3, 7, 0}));
  const Tokenizer left = with_added({with(added_token(7, "<x>"), "lstrip")});
  EXPECT_EQ(left.encode("a\u00a0 <x> b", false), (Ids{0, 7, 3, 1}));
}

TEST(AddedTokens, SingleWordOnlyBetweenOtherCharacters) {
  const Tokenizer tokenizer = with_added({with(added_token(7, "ca"), "single_word")});
  EXPECT_EQ(tokenizer.encode("ca", false), (Ids{7}));
  EXPECT_EQ(tokenizer.encode("b ca", false), (Ids{1, 3, 7}));
  EXPECT_EQ(tokenizer.encode("bca", false), (Ids{6, 0}));
  EXPECT_EQ(tokenizer.encode("caé", false),
            (Ids{2, 0}));  // é is a word character (without a token)
}

TEST(AddedTokens, NormalizedOnesAreFoundInTheNormalizedText) {
  json document = small_document();
  document["normalizer"] = {{"type", "Lowercase"}};
  json token = added_token(7, "CA");
  token["normalized"] = true;
  document["added_tokens"] = {token, added_token(8, "BB")};
  const Tokenizer tokenizer = load_text(document.dump());
  EXPECT_EQ(tokenizer.encode("ACaB", false), (Ids{0, 7, 1}));
  EXPECT_EQ(tokenizer.encode("BBbb", false), (Ids{8, 1, 1}));  // the raw one keeps its case
  EXPECT_EQ(tokenizer.decode(Ids{7}), "ca");
}

TEST(AddedTokens, EveryPieceIsNormalizedOnItsOwn) {
  json document = small_document();
  document["normalizer"] = {{"type", "Prepend"}, {"prepend", "c"}};
  document["added_tokens"] = {added_token(7, "<x>")};
  EXPECT_EQ(load_text(document.dump()).encode("a<x>b<x><x>", false), (Ids{2, 0, 7, 2, 1, 7, 7}));
}

TEST(AddedTokens, SwallowingSpaceRunsOfSpaceTokensIsLinear) {
  json blank = with(added_token(3, " "), "rstrip");
  const Tokenizer tokenizer = with_added({blank});
  // Each of the 10^6 blanks matches; walking on from each to the end would be 5*10^11 steps.
  EXPECT_EQ(tokenizer.encode(std::string(1'000'000, ' '), false).front(), 3);
}

TEST(PostProcessor, TemplateStandsAroundTheText) {
  json document = small_document();
  document["added_tokens"] = {added_token(7, "<s>"), added_token(8, "</s>")};
  document["post_processor"] = json::parse(R"({"type": "Sequence", "processors": [
    {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
    {"type": "TemplateProcessing",
     "single": [{"SpecialToken": {"id": "bos", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "eos", "type_id": 0}}],
     "pair": [],
     "special_tokens": {"bos": {"id": "bos", "ids": [7, 7], "tokens": ["<s>", "<s>"]},
                        "eos": {"id": "eos", "ids": [8], "tokens": ["</s>"]}}}]})");
  const Tokenizer tokenizer = load_text(document.dump());
  EXPECT_EQ(tokenizer.encode("ab", true), (Ids{7, 7, 4, 8}));
  EXPECT_EQ(tokenizer.encode("ab", false), (Ids{4}));
  EXPECT_EQ(tokenizer.encode("", true), (Ids{7, 7, 8}));
}

TEST(Tokenizer, IllFormedUtf8ReadsAsReplacementCharacters) {
  const Tokenizer tokenizer = load_text(byte_document().dump());
  const auto decoded = [&](std::string_view bytes) {
    return tokenizer.decode(tokenizer.encode(bytes, false));
  };
  // As bytes.decode('utf-8', errors='replace') gives them.
  EXPECT_EQ(decoded("a\xFFz"), "a\uFFFDz");
  EXPECT_EQ(decoded("\xE6\xBC"), "\uFFFD");  // a truncated character is one part
  EXPECT_EQ(decoded("\xE6\xBC"
                    "a"),
            "\uFFFD"
            "a");
  EXPECT_EQ(decoded("\xED\xA0\x80"),
            "\uFFFD\uFFFD\uFFFD");                 // a surrogate: no byte continues another
  EXPECT_EQ(decoded("\xC0\xAF"), "\uFFFD\uFFFD");  // overlong
  EXPECT_EQ(decoded("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  EXPECT_EQ(decoded("\xF0\x9F\x98\xF0\x9F\x98\x80"), "\uFFFD😀");
}

TEST(Tokenizer, ZeroBytesAreTextToo) {
  const Tokenizer tokenizer = load_text(byte_document().dump());
  const std::string text("a\0b", 3);
  EXPECT_EQ(tokenizer.encode(text, false), (Ids{'a', 0, 'b'}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false)), text);
}

TEST(Tokenizer, LooksUpTokensAndIds) {
  const Tokenizer tokenizer = with_added({added_token(11, "<x>")});
  EXPECT_EQ(tokenizer.vocab_size(), 12);  // 7..10 are a gap
  EXPECT_EQ(tokenizer.token_to_id("abc"), 5);
  EXPECT_EQ(tokenizer.token_to_id("<x>"), 11);
  EXPECT_EQ(tokenizer.token_to_id("zz"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(11), "<x>");
  EXPECT_THROW(tokenizer.id_to_token(9), Error);
  EXPECT_THROW(tokenizer.id_to_token(-1), Error);
  EXPECT_THROW(tokenizer.id_to_token(12), Error);
  EXPECT_EQ(tokenizer.decode(Ids{0, 9, 12, 2'000'000'000, 1}),
            "ab");  // padded rows stand for nothing
  EXPECT_THROW(tokenizer.decode(Ids{0, -1}), Error);
  EXPECT_TRUE(tokenizer.is_special(11));
  EXPECT_FALSE(tokenizer.is_special(0));
}

TEST(Tokenizer, BosAndEosFromStringObjectOrNothing) {
  const std::string document = small_document().dump();
  const Tokenizer both = load_text(
      document, R"({"bos_token": "abc", "eos_token": {"content": "bc", "lstrip": false}})");
  EXPECT_EQ(both.bos_id(), 5);
  EXPECT_EQ(both.eos_id(), 6);
  const Tokenizer none = load_text(document, R"({"bos_token": null})");
  EXPECT_EQ(none.bos_id(), std::nullopt);
  EXPECT_EQ(none.eos_id(), std::nullopt);
  EXPECT_EQ(load_text(document).bos_id(), std::nullopt);
}

TEST(Tokenizer, FingerprintIsTheHashOfTheFile) {
  // sha256sum of the bytes {"model":{"vocab":{"a":0},"merges":[]}}
  EXPECT_EQ(load_text(R"({"model":{"vocab":{"a":0},"merges":[]}})").fingerprint(),
            "dc48b278c4ef8f87734070a78239c579833f78e845137fa799432bcf48620a31");
}

TEST(Tokenizer, ThreadsMayShareOne) {
  json document = small_document();
  document["normalizer"] = {{"type", "NFC"}};
  document["pre_tokenizer"] = json::parse(
      R"({"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false})");
  const Tokenizer tokenizer = load_text(document.dump());
  std::vector<size_t> wrong(4);
  std::vector<std::thread> threads;
  for (size_t& count : wrong) {
    threads.emplace_back([&tokenizer, &count] {
      for (int i = 0; i < 200; ++i)
        count += tokenizer.encode("bcabcb abé", false) != Ids{6, 5, 1, 3, 4};
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<size_t>(4, 0));
}

TEST(Tokenizer, WithoutDecoderTokensAreJoinedWithBlanks) {
  json document = small_document();
  document["decoder"] = nullptr;
  EXPECT_EQ(load_text(document.dump()).decode(Ids{4, 2}), "ab c");
}

}  // namespace
}  // namespace qsweep::model
