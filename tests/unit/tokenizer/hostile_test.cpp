// Files that are broken or meant to break: each must end in an Error that names file and place.
#include <random>

#include "unit/tokenizer/support.hpp"

namespace qsweep::model {
namespace {

using test::added_token;
using test::Ids;
using test::json;
using test::load_error;
using test::load_text;
using test::small_document;

// A change of the small document by JSON pointer, and what the message must say.
struct Fault {
  const char* name;
  const char* pointer;
  const char* value;
  std::vector<const char*> says;
};

class HostileFile : public testing::TestWithParam<Fault> {};

TEST_P(HostileFile, IsRefusedWithItsPlace) {
  const Fault& fault = GetParam();
  json document = small_document();
  document[json::json_pointer(fault.pointer)] = json::parse(fault.value);
  const std::string message = load_error(document.dump());
  EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
  for (const char* part : fault.says) EXPECT_NE(message.find(part), std::string::npos) << message;
}

const Fault faults[]{
    {"version", "/version", "\"2.0\"", {"version", "2.0"}},
    {"model_null", "/model", "null", {"model", "object"}},
    {"model_type", "/model/type", "\"Unigram\"", {"unsupported model 'Unigram'"}},
    {"vocab_array", "/model/vocab", "[]", {"model.vocab", "object"}},
    {"vocab_empty", "/model/vocab", "{}", {"model.vocab", "empty"}},
    {"id_string", "/model/vocab/a", "\"0\"", {"model.vocab['a']", "integer"}},
    {"id_negative", "/model/vocab/a", "-1", {"model.vocab['a']", "-1"}},
    {"id_fraction", "/model/vocab/a", "0.5", {"model.vocab['a']", "integer"}},
    {"id_huge", "/model/vocab/a", "4294967296", {"model.vocab['a']", "4294967296"}},
    {"id_beyond_int64", "/model/vocab/a", "18446744073709551615", {"18446744073709551615"}},
    {"id_twice", "/model/vocab/zz", "0", {"id 0", "'a'", "'zz'"}},
    {"merges_object", "/model/merges", "{}", {"model.merges", "array"}},
    {"merge_number", "/model/merges/1", "7", {"model.merges[1]", "array"}},
    {"merge_of_three", "/model/merges/1", R"(["a","b","c"])", {"model.merges[1]", "two tokens"}},
    {"merge_of_numbers", "/model/merges/1", "[1, 2]", {"model.merges[1][0]", "string"}},
    {"merge_line", "/model/merges/1", "\"abc\"", {"model.merges[1]", "one space"}},
    {"merge_missing_part", "/model/merges/1", R"(["b","q"])", {"model.merges[1]", "'q'"}},
    {"merge_missing_union", "/model/merges/1", R"(["c","b"])", {"model.merges[1]", "'cb'"}},
    {"unknown_missing", "/model/unk_token", "\"<unk>\"", {"model.unk_token", "<unk>"}},
    {"dropout", "/model/dropout", "0.1", {"model.dropout", "random"}},
    {"flag_number", "/model/byte_fallback", "1", {"model.byte_fallback", "true or false"}},
    {"added_object", "/added_tokens", "{}", {"added_tokens", "array"}},
    {"added_incomplete",
     "/added_tokens",
     R"([{"id": 7, "content": "x"}])",
     {"added_tokens[0]", "single_word"}},
    {"normalizer", "/normalizer", R"({"type": "Nmt"})", {"unsupported normalizer 'Nmt'", "NFKC"}},
    {"normalizer_untyped", "/normalizer", "{}", {"normalizer", "'type' is missing"}},
    {"pre_tokenizer",
     "/pre_tokenizer",
     R"({"type": "UnicodeScripts"})",
     {"unsupported pre_tokenizer 'UnicodeScripts'"}},
    {"nested_place",
     "/pre_tokenizer",
     R"({"type": "Sequence", "pretokenizers": [{"type": "X"}]})",
     {"pre_tokenizer.pretokenizers[0]", "'X'"}},
    {"behavior",
     "/pre_tokenizer",
     R"({"type": "Split", "pattern": {"String": "x"}, "behavior": "Y", "invert": false})",
     {"pre_tokenizer.behavior", "'Y'", "Isolated"}},
    {"empty_pattern",
     "/pre_tokenizer",
     R"({"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": false})",
     {"pre_tokenizer.pattern.String", "empty"}},
    {"broken_regex",
     "/pre_tokenizer",
     R"({"type": "Split", "pattern": {"Regex": "a("}, "behavior": "Isolated", "invert": false})",
     {"pre_tokenizer.pattern.Regex", "invalid regular expression"}},
    {"regex_set_operation",
     "/pre_tokenizer",
     R"({"type": "Split", "pattern": {"Regex": "[a&&b]"}, "behavior": "Isolated", "invert": false})",
     {"pre_tokenizer.pattern.Regex", "intersection"}},
    {"replacement_of_two",
     "/pre_tokenizer",
     R"({"type": "Metaspace", "replacement": "ab"})",
     {"pre_tokenizer.replacement", "one character"}},
    {"post_processor",
     "/post_processor",
     R"({"type": "BertProcessing"})",
     {"unsupported post_processor 'BertProcessing'"}},
    {"template_without_text",
     "/post_processor",
     R"({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}})",
     {"single", "0 times"}},
    {"template_undefined_token",
     "/post_processor",
     R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}],
         "pair": [], "special_tokens": {}})",
     {"special_tokens", "'<s>' is missing"}},
    {"template_unknown_id",
     "/post_processor",
     R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [],
         "special_tokens": {"x": {"id": "x", "ids": [99], "tokens": ["x"]}}})",
     {"special_tokens.x.ids[0]", "99"}},
    {"decoder", "/decoder", R"({"type": "WordPiece"})", {"unsupported decoder 'WordPiece'"}},
    {"decoder_count",
     "/decoder",
     R"({"type": "Strip", "content": " ", "start": -1, "stop": 0})",
     {"decoder.start", "-1"}},
};

INSTANTIATE_TEST_SUITE_P(Faults, HostileFile, testing::ValuesIn(faults),
                         [](const auto& fault) { return std::string(fault.param.name); });

TEST(HostileJson, DuplicateKeysAreRefusedAnywhere) {
  EXPECT_NE(load_error(R"({"model": {}, "model": {}})").find("'model' stands twice"),
            std::string::npos);
  EXPECT_NE(load_error(R"({"model":{"vocab":{"a":0,"a":1},"merges":[]}})").find("'a' stands twice"),
            std::string::npos);
}

TEST(HostileJson, EveryTruncationIsRefused) {
  const std::string whole = small_document().dump();
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(load_error(whole.substr(0, length)).find("not valid JSON"), std::string::npos)
        << length;
  }
}

TEST(HostileJson, DepthIsBounded) {
  const std::string deep = std::string(1'000'000, '[');
  EXPECT_NE(load_error(deep).find("nested too deeply"), std::string::npos);
  std::string nested = R"({"type": "NFC"})";
  for (int i = 0; i < 200; ++i) nested = R"({"type": "Sequence", "normalizers": [)" + nested + "]}";
  EXPECT_NE(load_error(R"({"normalizer": )" + nested + "}").find("nested too deeply"),
            std::string::npos);
}

TEST(HostileJson, OtherThingsThanAnObjectAreRefused) {
  for (const char* text :
       {"", "null", "7", "[]", "\"x\"", "{}", "\xFF\xFE", R"({"model": "\ud800"})"}) {
    EXPECT_FALSE(load_error(text).empty()) << text;
  }
}

TEST(HostileAdded, ContradictionsWithTheVocabularyAreRefused) {
  const auto refused = [](std::vector<json> tokens) {
    json document = small_document();
    document["added_tokens"] = tokens;
    return load_error(document.dump());
  };
  EXPECT_NE(refused({added_token(7, "a")}).find("contradicts model.vocab"), std::string::npos);
  EXPECT_NE(refused({added_token(0, "x")}).find("belongs to 'a'"), std::string::npos);
  EXPECT_NE(refused({added_token(7, "x"), added_token(7, "y")}).find("id 7"), std::string::npos);
  EXPECT_NE(refused({added_token(7, "x"), added_token(8, "x")}).find("stands twice"),
            std::string::npos);
  EXPECT_NE(refused({added_token(7, "")}).find("empty content"), std::string::npos);
  EXPECT_NE(refused({added_token(-7, "x")}).find("added_tokens[0].id"), std::string::npos);
  EXPECT_NE(refused({added_token(2'000'000'000, "x")}).find("added_tokens[0].id"),
            std::string::npos);
  EXPECT_NE(refused({added_token(7, std::string(5000, 'x'))}).find("too long"), std::string::npos);
}

TEST(HostileConfig, TokensMustExistAndHaveTheRightType) {
  const std::string document = small_document().dump();
  EXPECT_NE(
      load_error(document, R"({"bos_token": "<s>"})").find("tokenizer_config.json: bos_token"),
      std::string::npos);
  EXPECT_NE(load_error(document, R"({"eos_token": 7})").find("eos_token"), std::string::npos);
  EXPECT_NE(load_error(document, "[").find("tokenizer_config.json"), std::string::npos);
}

TEST(HostileConfig, AMissingFileIsAnIoError) {
  try {
    Tokenizer::load(test::TemporaryFolder().path() / "nowhere" / "tokenizer.json");
    FAIL() << "loading did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io) << error.what();
  }
}

TEST(HostileRegex, EndlessBacktrackingIsCutShort) {
  json document = small_document();
  document["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", "(a+)+$"}}},
                               {"behavior", "Isolated"},
                               {"invert", false}};
  const Tokenizer tokenizer = load_text(document.dump());
  EXPECT_EQ(tokenizer.encode("aaa", false).size(), 3u);
  // 2^60 ways to cut the run before the pattern gives up.
  EXPECT_THROW(tokenizer.encode(std::string(60, 'a') + "b", false), Error);
}

// Each start of a match takes some 20,000 steps, well within the bound of one start; the text has
// 200,000 starts.
TEST(HostileRegex, ManySlowStartsAreCutShortToo) {
  json document = small_document();
  document["pre_tokenizer"] = {{"type", "Split"},
                               {"pattern", {{"Regex", "a{0,200}a{0,200}[bc]"}}},
                               {"behavior", "Isolated"},
                               {"invert", false}};
  const Tokenizer tokenizer = load_text(document.dump());
  EXPECT_EQ(tokenizer.encode("aab", false).size(), 2u);
  EXPECT_THROW(tokenizer.encode(std::string(200'000, 'a'), false), Error);
}

TEST(HostileGrowth, StepsThatDoubleATextAreCutShort) {
  json document = small_document();
  const json doubled = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  const auto encode = [&](size_t steps, size_t length) {
    document["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array()}};
    for (size_t i = 0; i < steps; ++i) document["normalizer"]["normalizers"].push_back(doubled);
    return load_text(document.dump()).encode(std::string(length, 'a'), false).size();
  };
  EXPECT_EQ(encode(4, 100'000), 1'600'000u);  // 16 times: within the bound
  EXPECT_THROW(encode(6, 100'000), Error);    // 64 times
  EXPECT_THROW(encode(60, 1), Error);
  EXPECT_THROW(encode(65, 1), Error);  // too many steps
}

TEST(HostileGrowth, DecodersAreBoundedAlike) {
  json document = small_document();
  const json doubled = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  document["decoder"] = {{"type", "Sequence"}, {"decoders", json::array()}};
  for (int i = 0; i < 40; ++i) document["decoder"]["decoders"].push_back(doubled);
  const Ids ids(10, 0);
  EXPECT_THROW(load_text(document.dump()).decode(ids, false), Error);
}

TEST(HostileGrowth, WhatIsInsertedIsShort) {
  json document = small_document();
  const std::string text(300, 'a');
  document["normalizer"] = {{"type", "Prepend"}, {"prepend", text}};
  EXPECT_NE(load_error(document.dump()).find("normalizer.prepend: text too long"),
            std::string::npos);
  document = small_document();
  document["model"]["end_of_word_suffix"] = text;
  EXPECT_NE(load_error(document.dump()).find("end_of_word_suffix"), std::string::npos);
  document = small_document();
  document["model"]["vocab"][std::string(4097, 'a')] = 9;
  EXPECT_NE(load_error(document.dump()).find("token too long"), std::string::npos);
}

// A file with every stage, its bytes changed, dropped, doubled at random: loads or throws Error.
TEST(HostileFuzz, MutatedFilesNeverCrash) {
  json document = small_document();
  json token = added_token(7, "<x>");
  token["normalized"] = token["rstrip"] = true;
  document["added_tokens"] = {token};
  document["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [{"type": "NFC"},
      {"type": "Replace", "pattern": {"Regex": "\\s{2,}+|[[:alpha:]]"}, "content": "b"}]})");
  document["pre_tokenizer"] = json::parse(R"json({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "(?i:'s)|\\p{L}+|\\s+(?!\\S)"},
       "behavior": "MergedWithNext", "invert": true},
      {"type": "Metaspace", "replacement": "c"}]})json");
  document["decoder"] = {{"type", "Strip"}, {"content", "a"}, {"start", 1}, {"stop", 1}};
  const std::string whole = document.dump();
  ASSERT_NO_THROW(load_text(whole));
  std::mt19937 random(5);
  size_t loaded = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string text = whole;
    for (size_t n = 1 + random() % 3; n > 0; --n) {
      const size_t at = random() % text.size();
      const size_t length = 1 + random() % 8;
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text = text.substr(0, at) + text.substr(std::min(text.size(), at + length));
          break;
        case 2:
          text = text.substr(0, at) + text.substr(at, length) + text.substr(at);
          break;
        default:
          text[at] = R"({}[]",:0-\\()|*+?^$)"[random() % 20];
      }
    }
    try {
      const Tokenizer tokenizer = load_text(text);
      ++loaded;
      tokenizer.decode(tokenizer.encode("a  bc <x> 's caé", true));
    } catch (const Error&) {
    }
  }
  EXPECT_GT(loaded, 50u) << "too few files survive for the fuzz to reach the stages";
}

TEST(HostileMessages, LongAndControlCharactersAreTamed) {
  json document = small_document();
  document["model"]["merges"][0][1] = std::string(100'000, 'q') + "\x1b[31m";
  const std::string message = load_error(document.dump());
  EXPECT_LT(message.size(), 500u);
  document["model"]["merges"][0][1] = "\x1b[31m";
  EXPECT_NE(load_error(document.dump()).find("\\x1B[31m"), std::string::npos);
}

}  // namespace
}  // namespace qsweep::model
