// The five reference tokenizers (tests skip aloud where the shared folder is not there): ids and
// decodings exactly as huggingface/tokenizers gives them, then round trips of random text.
#include <cstdint>
#include <random>

#include "model/tokenizer/utf8.hpp"
#include "unit/tokenizer/support.hpp"

namespace qsweep::model {
namespace {

using test::Ids;
using test::json;

class Reference : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = test::shared_folder() / "reference" / GetParam();
    if (!std::filesystem::exists(folder_ / "tokenizer.json")) {
      GTEST_SKIP() << "no reference checkpoint at " << folder_ << "; set QSWEEP_SHARED";
    }
  }
  std::filesystem::path folder_;
};

TEST_P(Reference, EveryCaseIsExact) {
  const Tokenizer tokenizer = Tokenizer::load(folder_);
  std::ifstream file(folder_ / "tokenizer_cases.json");
  const json cases = json::parse(file);
  ASSERT_GE(cases.size(), 50u);
  for (const json& c : cases) {
    const auto text = c.at("text").get<std::string>();
    SCOPED_TRACE(text);
    const Ids ids = tokenizer.encode(text, false);
    EXPECT_EQ(ids, c.at("ids").get<Ids>());
    EXPECT_EQ(tokenizer.encode(text, true), c.at("ids_special").get<Ids>());
    EXPECT_EQ(tokenizer.decode(c.at("ids").get<Ids>()), c.at("decoded").get<std::string>());
  }
}

TEST_P(Reference, ConfigNamesBosAndEos) {
  const Tokenizer tokenizer = Tokenizer::load(folder_);
  std::ifstream file(folder_ / "tokenizer_config.json");
  const json config = json::parse(file);
  const auto id_of = [&](const char* key) {
    return config.contains(key) ? tokenizer.token_to_id(config[key].get<std::string>())
                                : std::nullopt;
  };
  EXPECT_EQ(tokenizer.bos_id(), id_of("bos_token"));
  EXPECT_EQ(tokenizer.eos_id(), id_of("eos_token"));
  ASSERT_TRUE(tokenizer.eos_id());
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.eos_id()));
  EXPECT_EQ(tokenizer.decode(Ids{*tokenizer.eos_id()}, true), "");
  EXPECT_GT(tokenizer.vocab_size(), 1000);
  EXPECT_LE(tokenizer.vocab_size(), 1024) << "the models have 1024 rows, and not every row a token";
}

// Random text of characters that every stage treats differently; none that NFC changes.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts{
      "a",      "B",      "z", "'s",   "'LL", " ",   "   ", "\n",     "\t",     "\r\n",
      "\u00a0", "\u3000", "1", "23",   "²",   "!",   "?!",  "é",      "ß",      "漢",
      "😀",      "가",     "ſ", "\x01", "_",   "the", "ing", "\u200b", "\u180e", "ё"};
  std::string text;
  for (size_t i = random() % 60; i > 0; --i) text += parts[random() % parts.size()];
  return text;
}

TEST_P(Reference, RandomTextRoundTrips) {
  const Tokenizer tokenizer = Tokenizer::load(folder_);
  std::mt19937 random(17);
  for (int i = 0; i < 3000; ++i) {
    const std::string text = random_text(random);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false)), text);
  }
}

TEST_P(Reference, RandomBytesNeverThrow) {
  const Tokenizer tokenizer = Tokenizer::load(folder_);
  std::mt19937 random(23);
  for (int i = 0; i < 3000; ++i) {
    std::string bytes(random() % 80, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    const Ids ids = tokenizer.encode(bytes, true);
    for (const int32_t id : ids) ASSERT_LT(id, tokenizer.vocab_size());
    EXPECT_EQ(ids, tokenizer.encode(tok::sanitize_utf8(bytes), true))
        << "U+FFFD stands for ill-formed";
    EXPECT_TRUE(tok::is_valid_utf8(tokenizer.decode(ids)));
  }
  for (int i = 0; i < 3000; ++i) {
    Ids ids(random() % 40);
    for (int32_t& id : ids) id = static_cast<int32_t>(random() % 1100);  // 1024.. name no token
    EXPECT_TRUE(tok::is_valid_utf8(tokenizer.decode(ids)));
  }
}

// A megabyte that one stage or another sees as one word: must end (n log n; a quadratic loop would
// take hours) and come back whole.
TEST_P(Reference, OneMegabyteInOneWord) {
  const Tokenizer tokenizer = Tokenizer::load(folder_);
  std::string text;
  for (size_t i = 0; text.size() < 1'000'000; ++i)
    text += static_cast<char>('a' + (i * i + i / 7) % 26);
  const Ids ids = tokenizer.encode(text, false);
  EXPECT_EQ(tokenizer.decode(ids), text);
  EXPECT_LT(ids.size(), text.size());

  // Ordinary prose for phi3, which has no pre-tokenizer, and long runs of blanks for the others.
  std::string prose = "the end";
  while (prose.size() < 1'000'000)
    prose += prose.size() % 3 ? " of the beginning of " : std::string(999, ' ');
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(prose, false)), prose);
}

INSTANTIATE_TEST_SUITE_P(Families, Reference,
                         testing::Values("llama", "phi3", "qwen2", "qwen3", "mamba2"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace qsweep::model
