// Made checkpoints: the shape they were asked for, the same bytes for the same seed, and an engine
// that runs them.
#include "model/make_model.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "model/tokenizer/tokenizer.hpp"
#include "unit/model/reference.hpp"
#include "unit/record/temporary_folder.hpp"

namespace qsweep {
namespace {

model::ModelConfig small(const char* shape) {
  model::ModelConfig config = *model::published_shape(shape);
  config.layers = 2;
  config.hidden = 192;
  config.ffn = 256;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = config.rope.short_factor.empty() ? 48 : 96;
  config.vocab = 32768;
  config.bos = 1;
  config.eos = {2};
  return config;
}

TEST(MakeModel, GivesTheShapeAskedFor) {
  for (const char* shape : {"phi-3.5-mini", "llama-3.2-1b", "qwen2.5-0.5b", "qwen3-0.6b"}) {
    const record::testing::TemporaryFolder folder;
    const model::ModelConfig asked = small(shape);
    const model::MadeModel made = model::make_model(asked, 1, folder / "model");
    const auto checkpoint = model::Checkpoint::open(folder / "model");
    const model::ModelConfig& got = checkpoint->config();
    EXPECT_EQ(got.parameters(), asked.parameters()) << shape;
    EXPECT_EQ(made.parameters, asked.parameters()) << shape;
    EXPECT_EQ(got.head_dim, asked.head_dim);
    EXPECT_EQ(got.rope.short_factor, asked.rope.short_factor);
    EXPECT_EQ(got.rope.attention_factor, asked.rope.attention_factor);
    EXPECT_EQ(got.eos, asked.eos);
    test::Runner runner(folder / "model");
    const auto logits = runner.logits({1, 2, 3, 4});
    double squares = 0;
    for (const float value : logits) squares += static_cast<double>(value) * value;
    // Hidden states are normed and the head is N(0, 0.02): logits of size 0.02 sqrt(hidden).
    const double size = std::sqrt(squares / static_cast<double>(logits.size()));
    EXPECT_NEAR(size, 0.02 * std::sqrt(192), 0.1) << shape;
  }
}

TEST(MakeModel, SameSeedSameBytesAndTextComesBack) {
  const record::testing::TemporaryFolder folder;
  const model::ModelConfig shape = small("llama-3.2-1b");
  for (const auto& [name, seed] : {std::pair{"a", 7}, {"b", 7}, {"c", 8}}) {
    model::make_model(shape, static_cast<uint64_t>(seed), folder / name);
  }
  const auto fingerprint = [&](const char* name) {
    return model::Checkpoint::open(folder / name)->fingerprint();
  };
  EXPECT_EQ(fingerprint("a"), fingerprint("b"));
  EXPECT_NE(fingerprint("a"), fingerprint("c"));
  const auto tokenizer = model::Tokenizer::load(folder / "a");
  const std::string text = "Grüße, 12 tokens\n";
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, true), true), text);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{300}, true), "<300>");
  EXPECT_THROW(model::make_model(shape, 7, folder / "a"), Error);
}

}  // namespace
}  // namespace qsweep
