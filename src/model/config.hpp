// config.json as published checkpoints write it, checked and with every default filled in.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/names.hpp"

namespace qsweep::model {

enum class Family { llama, phi3, qwen2, qwen3, mamba2 };
enum class RopeKind { plain, llama3, longrope };

struct RopeConfig {
  RopeKind kind = RopeKind::plain;
  double theta = 10000;
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;  // llama3
  int64_t original_max_positions = 0;                            // llama3, longrope
  std::vector<double> short_factor, long_factor;                 // longrope: head_dim / 2 each
  double attention_factor = 1;                                   // scales cos and sin
};

struct ModelConfig {
  Family family = Family::llama;
  int64_t layers = 0, hidden = 0, ffn = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t vocab = 0, max_positions = 0;
  double norm_eps = 1e-5;
  bool tied_embeddings = false, qkv_bias = false, qk_norm = false;
  RopeConfig rope;
  int64_t bos = -1;
  std::vector<int64_t> eos;
  std::string dtype;  // as the checkpoint says: bfloat16, float16, float32
  // Mamba2 only
  int64_t ssm_heads = 0, ssm_head_dim = 0, ssm_state = 0, ssm_groups = 0, conv_kernel = 0,
          inner = 0;

  bool is_ssm() const { return family == Family::mamba2; }
  int64_t parameters() const;             // all weights, embeddings counted once when tied
  int64_t kv_elements_per_token() const;  // 2 * layers * kv_heads * head_dim
};

// Throws Error{invalid_input} naming the file and the key.
ModelConfig parse_config(const std::filesystem::path& config_json);
ModelConfig parse_config_text(const std::string& text, const std::string& file_name);

// A published shape known without its files (for plans and make-model), by hub id or short name
// ("microsoft/Phi-3.5-mini-instruct", "phi-3.5-mini"); nullptr if unknown.
const ModelConfig* published_shape(const std::string& name);
std::vector<std::string> published_shape_names();

}  // namespace qsweep::model

template <>
inline constexpr auto qsweep::enum_names<qsweep::model::Family> =
    std::to_array<qsweep::NamePair<qsweep::model::Family>>({{qsweep::model::Family::llama, "llama"},
                                                            {qsweep::model::Family::phi3, "phi3"},
                                                            {qsweep::model::Family::qwen2, "qwen2"},
                                                            {qsweep::model::Family::qwen3, "qwen3"},
                                                            {qsweep::model::Family::mamba2,
                                                             "mamba2"}});
