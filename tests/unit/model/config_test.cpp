// config.json in every published form, its bounds, and the published shapes.
#include "model/config.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"
#include "unit/model/reference.hpp"

namespace qsweep {
namespace {

using model::Family;
using model::ModelConfig;
using model::RopeKind;

// A small llama, with `extra` members in front; `extra` ends in a comma.
std::string llama(const std::string& extra = "", const std::string& type = "llama") {
  return "{" + extra + R"("model_type": ")" + type +
         R"(", "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100,
    "max_position_embeddings": 512, "hidden_act": "silu"})";
}

std::string refusal(const std::string& text) {
  try {
    model::parse_config_text(text, "config.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
    EXPECT_EQ(std::string(error.what()).find("config.json"), 0u) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(Config, DefaultsAreFilledIn) {
  const ModelConfig config = model::parse_config_text(llama(), "config.json");
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.norm_eps, 1e-5);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.rope.theta, 10000);
  EXPECT_EQ(config.rope.kind, RopeKind::plain);
  EXPECT_EQ(config.bos, -1);
  EXPECT_TRUE(config.eos.empty());
}

TEST(Config, OldAndNewRopeKeysAreTheSame) {
  const std::string scaling =
      R"("factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256)";
  const ModelConfig old_form = model::parse_config_text(
      llama(R"("rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", )" + scaling + "},"),
      "old");
  const ModelConfig new_form = model::parse_config_text(
      llama(R"("rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", )" + scaling +
            "},"),
      "new");
  for (const ModelConfig& config : {old_form, new_form}) {
    EXPECT_EQ(config.rope.kind, RopeKind::llama3);
    EXPECT_EQ(config.rope.theta, 500000);
    EXPECT_EQ(config.rope.factor, 32);
    EXPECT_EQ(config.rope.high_freq_factor, 4);
    EXPECT_EQ(config.rope.original_max_positions, 256);
  }
}

TEST(Config, LongropeUnderItsNames) {
  std::string factors = "1.0";
  for (int i = 1; i < 8; ++i) factors += ", 1." + std::to_string(i);
  for (const char* type :
       {"\"type\": \"longrope\"", "\"type\": \"su\"", "\"rope_type\": \"longrope\""}) {
    const ModelConfig config = model::parse_config_text(
        llama(R"("original_max_position_embeddings": 128, "rope_scaling": {)" + std::string(type) +
                  R"(, "short_factor": [)" + factors + R"(], "long_factor": [)" + factors + "]},",
              "phi3"),
        "config.json");
    EXPECT_EQ(config.rope.kind, RopeKind::longrope);
    EXPECT_EQ(config.rope.original_max_positions, 128);
    EXPECT_EQ(config.rope.long_factor.size(), 8u);
    // sqrt(1 + ln 4 / ln 128)
    EXPECT_NEAR(config.rope.attention_factor, 1.13389, 1e-5);
  }
}

TEST(Config, EndTokensAsNumberAndList) {
  EXPECT_EQ(model::parse_config_text(llama("\"eos_token_id\": 7,"), "c").eos,
            std::vector<int64_t>{7});
  EXPECT_EQ(model::parse_config_text(llama("\"eos_token_id\": [7, 9],"), "c").eos,
            (std::vector<int64_t>{7, 9}));
  EXPECT_TRUE(model::parse_config_text(llama("\"eos_token_id\": null,"), "c").eos.empty());
}

TEST(Config, GenerationConfigGivesTheEndTokens) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "qsweep_generation_config";
  write_file_atomic(folder / "config.json", llama("\"eos_token_id\": 7,"));
  write_file_atomic(folder / "generation_config.json", R"({"eos_token_id": [1, 2, 3]})");
  EXPECT_EQ(model::parse_config(folder / "config.json").eos, (std::vector<int64_t>{1, 2, 3}));
  std::filesystem::remove_all(folder);
}

TEST(Config, InfinityAsPythonWritesIt) {
  const auto mamba = [](const std::string& limit) {
    return R"({"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 50, "num_heads": 4,
      "head_dim": 16, "state_size": 8, "time_step_limit": [0.0, )" +
           limit + R"(], "note": "Infinity \" NaN"})";
  };
  for (const char* limit : {"Infinity", "{\"__float__\": \"Infinity\"}"}) {
    const ModelConfig config = model::parse_config_text(mamba(limit), "config.json");
    EXPECT_EQ(config.family, Family::mamba2);
    EXPECT_EQ(config.inner, 64);
    EXPECT_EQ(config.ssm_state, 8);
    EXPECT_TRUE(config.tied_embeddings);
  }
  EXPECT_NE(refusal(llama("\"rms_norm_eps\": NaN,")).find("finite number"), std::string::npos);
}

TEST(Config, RefusalsNameTheKeyAndTheReason) {
  const std::pair<std::string, const char*> cases[] = {
      {"{", "not valid JSON"},
      {"[]", "wrong type"},
      {"{}", "'model_type' is missing"},
      {llama("", "gpt2"), "unknown model type 'gpt2'"},
      {llama("\"hidden_size\": 8,"), "stands twice"},
      {llama("\"head_dim\": 15,"), "head_dim out of range"},
      {llama("\"head_dim\": 100000,"), "head_dim: number out of range"},
      {llama("\"rms_norm_eps\": 2.0,"), "rms_norm_eps: number out of range"},
      {llama("\"rms_norm_eps\": \"1e-5\","), "rms_norm_eps: wrong type"},
      {llama("\"rope_theta\": -1,"), "rope_theta: number out of range"},
      {llama("\"eos_token_id\": 100,"), "eos_token_id: number out of range"},
      {llama("\"eos_token_id\": \"x\","), "eos_token_id: wrong type"},
      {llama("\"attention_bias\": true,"), "attention_bias: is true"},
      {llama("\"mlp_bias\": true,"), "mlp_bias: is true"},
      {llama("\"sliding_window\": 100,"), "sliding-window attention is not supported"},
      {llama("\"use_sliding_window\": true, \"sliding_window\": 8,", "qwen2"), "sliding-window"},
      {llama("\"layer_types\": [\"sliding_attention\"],"),
       "layer_types[0]: unsupported layer type"},
      {llama("\"partial_rotary_factor\": 0.5,"), "partial_rotary_factor: is not supported"},
      {llama("\"rope_scaling\": {\"type\": \"yarn\"},"), "unknown rope scaling 'yarn'"},
      {llama("\"rope_scaling\": {\"rope_type\": \"llama3\"},"), "'factor' is missing"},
      {llama("\"rope_scaling\": {\"type\": \"longrope\", \"original_max_position_embeddings\": 9, "
             "\"short_factor\": [1], \"long_factor\": [1]},"),
       "short_factor: wrong number of factors"},
      {std::string(llama()).replace(llama().find("\"silu\""), 6, "\"gelu\""),
       "unsupported activation 'gelu'"},
      {std::string(llama()).replace(llama().find("_heads\": 4"), 10, "_heads\": 3"),
       "does not divide"},
      {std::string(llama()).replace(llama().find("100"), 3, "1e3"), "vocab_size: wrong type"},
      {std::string(llama()).replace(llama().find("100"), 3, "99999999999999999999"),
       "vocab_size: wrong type"},
      {std::string(llama()).replace(llama().find("\": 64"), 5, "\": -64"),
       "hidden_size: number out of range"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_NE(refusal(text).find(message), std::string::npos)
        << message << "\n  got: " << refusal(text);
  }
}

TEST(Config, PublishedParameterCounts) {
  const std::pair<const char*, int64_t> counts[] = {
      {"meta-llama/Llama-3.2-1B", 1'235'814'400},
      {"meta-llama/Llama-3.2-1B-Instruct", 1'235'814'400},
      {"microsoft/Phi-3.5-mini-instruct", 3'821'079'552},
      {"Qwen/Qwen2.5-0.5B", 494'032'768},
      {"Qwen/Qwen3-0.6B", 596'049'920},
      {"state-spaces/mamba2-130m-hf", 128'989'632},
      {"state-spaces/mamba2-370m-hf", 368'346'624},
      {"state-spaces/mamba2-780m-hf", 780'161'280},
      {"state-spaces/mamba2-1.3b-hf", 1'343'757'312},
      {"state-spaces/mamba2-2.7b-hf", 2'702'599'680},
  };
  for (const auto& [name, parameters] : counts) {
    const ModelConfig* shape = model::published_shape(name);
    ASSERT_NE(shape, nullptr) << name;
    EXPECT_EQ(shape->parameters(), parameters) << name;
  }
  EXPECT_EQ(model::published_shape("phi-3.5-mini"),
            model::published_shape("microsoft/Phi-3.5-mini-instruct@main"));
  EXPECT_EQ(model::published_shape("nobody/nothing"), nullptr);
  for (const std::string& name : model::published_shape_names())
    EXPECT_NE(model::published_shape(name), nullptr);
}

TEST(Config, PublishedCacheSizes) {
  // bf16 bytes a token.
  EXPECT_EQ(2 * model::published_shape("llama-3.2-1b")->kv_elements_per_token(), 32'768);
  EXPECT_EQ(2 * model::published_shape("phi-3.5-mini")->kv_elements_per_token(), 393'216);
  EXPECT_EQ(2 * model::published_shape("qwen2.5-0.5b")->kv_elements_per_token(), 12'288);
  EXPECT_EQ(2 * model::published_shape("qwen3-0.6b")->kv_elements_per_token(), 114'688);
  EXPECT_NEAR(model::published_shape("phi-3.5-mini")->rope.attention_factor, 1.19023807142381,
              1e-13);
}

TEST(Config, ReferenceFamilies) {
  for (const auto& [name, family] : {std::pair{"llama", Family::llama},
                                     {"phi3", Family::phi3},
                                     {"qwen2", Family::qwen2},
                                     {"qwen3", Family::qwen3},
                                     {"mamba2", Family::mamba2}}) {
    QSWEEP_NEEDS_REFERENCE(name);
    const ModelConfig config = model::parse_config(test::reference_folder(name) / "config.json");
    EXPECT_EQ(config.family, family);
    EXPECT_EQ(config.qkv_bias, family == Family::qwen2);
    EXPECT_EQ(config.qk_norm, family == Family::qwen3);
    EXPECT_EQ(config.dtype, "bfloat16");
  }
}

}  // namespace
}  // namespace qsweep
