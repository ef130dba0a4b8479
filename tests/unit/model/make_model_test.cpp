// Made checkpoints: the shape they were asked for, the same bytes for the same seed, and an engine
// that runs them.
#include "model/make_model.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.hpp"
#include "model/made_tensors.hpp"
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

double value_of(const model::TensorView& view, size_t i) {
  uint16_t bits = 0;
  std::memcpy(&bits, view.bytes.data() + 2 * i, 2);
  return bf16_to_float(bits);
}

// Steps and decays where the published code begins: softplus(dt_bias) in [0.001, 0.1], exp(A_log)
// in [1, 16], both within bf16's rounding.
TEST(MakeModel, StateSpaceModelsHaveTheirTensors) {
  const record::testing::TemporaryFolder folder;
  model::ModelConfig asked = *model::published_shape("mamba2-130m");
  asked.layers = 3;
  asked.hidden = 64;
  asked.inner = 128;
  asked.ssm_heads = 8;
  asked.ssm_head_dim = 16;
  asked.ssm_state = 24;
  asked.vocab = 1000;
  const model::MadeModel made = model::make_model(asked, 1, folder / "model");
  const auto checkpoint = model::Checkpoint::open(folder / "model");
  EXPECT_EQ(checkpoint->config().family, model::Family::mamba2);
  EXPECT_EQ(checkpoint->config().parameters(), asked.parameters());
  EXPECT_EQ(made.parameters, asked.parameters());
  const std::string mixer = "backbone.layers.2.mixer.";
  checkpoint->tensor(mixer + "in_proj.weight", {128 + 176 + 8, 64});
  checkpoint->tensor(mixer + "conv1d.weight", {176, 1, 4});
  checkpoint->tensor(mixer + "out_proj.weight", {64, 128});
  const auto& steps = checkpoint->tensor(mixer + "dt_bias", {8});
  const auto& decays = checkpoint->tensor(mixer + "A_log", {8});
  for (size_t i = 0; i < 8; ++i) {
    const double step = std::log1p(std::exp(value_of(steps, i)));
    EXPECT_GE(step, 0.001 * 0.95);  // bf16 near -7: half a unit is 2^-6 of the step
    EXPECT_LE(step, 0.1 * 1.05);
    const double decay = std::exp(value_of(decays, i));
    EXPECT_GE(decay, 1 * 0.98);
    EXPECT_LE(decay, 16 * 1.02);
    EXPECT_EQ(value_of(checkpoint->tensor(mixer + "D", {8}), i), 1);
  }
}

// Numbers of parameters as published, the vocabulary padded to a multiple of 16.
TEST(MakeModel, PublishedStateSpaceModelsCountAsPublished) {
  for (const auto& [name, parameters] :
       {std::pair{"mamba2-130m", int64_t{128989632}}, {"mamba2-2.7b", int64_t{2702599680}}}) {
    int64_t made = 0;
    for (const auto& tensor : model::made_tensors(*model::published_shape(name))) {
      made += tensor.elements();
    }
    EXPECT_EQ(made, parameters) << name;
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
