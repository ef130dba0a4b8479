// Shapes of published checkpoints, from their config.json; for plans of models whose files are not
// here, and for made models of real size. Factors of Phi-3.5's longrope are the published ones,
// rounded to two decimals as the file has them.
#include <algorithm>
#include <array>

#include "model/config.hpp"
#include "model/config_parts.hpp"

namespace qsweep::model {
namespace {

constexpr std::array<double, 48> phi35_short = {
    1.0,  1.02, 1.03, 1.03, 1.05, 1.05, 1.05, 1.05, 1.05, 1.07, 1.10, 1.11, 1.16, 1.16, 1.17, 1.29,
    1.34, 1.68, 1.79, 1.82, 1.85, 1.88, 1.91, 1.94, 1.99, 2.02, 2.02, 2.02, 2.02, 2.02, 2.02, 2.03,
    2.03, 2.03, 2.03, 2.03, 2.03, 2.03, 2.03, 2.03, 2.08, 2.09, 2.19, 2.22, 2.59, 2.73, 2.75, 2.84};
constexpr std::array<double, 48> phi35_long = {
    1.08,  1.11,  1.14,  1.34,  1.59,  1.60,  1.62,  2.62,  3.23,  3.23,  4.79,  7.40,
    7.70,  9.09,  12.20, 17.67, 24.46, 28.57, 30.42, 30.84, 32.59, 32.93, 42.32, 44.96,
    50.34, 50.45, 57.55, 57.93, 58.21, 60.14, 62.61, 62.62, 62.71, 63.14, 63.14, 63.77,
    63.93, 63.96, 63.97, 64.03, 64.07, 64.08, 64.12, 64.41, 64.48, 64.51, 64.53, 64.84};

ModelConfig transformer(Family family, int64_t layers, int64_t hidden, int64_t ffn, int64_t heads,
                        int64_t kv_heads, int64_t head_dim, int64_t vocab) {
  ModelConfig config;
  config.family = family;
  config.layers = layers;
  config.hidden = hidden;
  config.ffn = ffn;
  config.heads = heads;
  config.kv_heads = kv_heads;
  config.head_dim = head_dim;
  config.vocab = vocab;
  config.dtype = "bfloat16";
  config.qkv_bias = family == Family::qwen2;
  config.qk_norm = family == Family::qwen3;
  return config;
}

ModelConfig phi35_mini() {
  ModelConfig config = transformer(Family::phi3, 32, 3072, 8192, 32, 32, 96, 32064);
  config.max_positions = 131072;
  config.rope.kind = RopeKind::longrope;
  config.rope.original_max_positions = 4096;
  config.rope.short_factor.assign(phi35_short.begin(), phi35_short.end());
  config.rope.long_factor.assign(phi35_long.begin(), phi35_long.end());
  config.rope.attention_factor = longrope_attention_factor(131072, 4096);
  config.bos = 1;
  config.eos = {32007, 32001, 32000};
  return config;
}

ModelConfig llama32_1b(std::vector<int64_t> eos) {
  ModelConfig config = transformer(Family::llama, 16, 2048, 8192, 32, 8, 64, 128256);
  config.max_positions = 131072;
  config.tied_embeddings = true;
  config.rope = {RopeKind::llama3, 500000, 32, 1, 4, 8192, {}, {}, 1};
  config.bos = 128000;
  config.eos = std::move(eos);
  return config;
}

ModelConfig qwen(Family family, int64_t layers, int64_t hidden, int64_t ffn, int64_t heads,
                 int64_t kv_heads, int64_t head_dim, int64_t positions, std::vector<int64_t> eos) {
  ModelConfig config = transformer(family, layers, hidden, ffn, heads, kv_heads, head_dim, 151936);
  config.max_positions = positions;
  config.norm_eps = 1e-6;
  config.tied_embeddings = true;
  config.rope.theta = 1000000;
  config.bos = 151643;
  config.eos = std::move(eos);
  return config;
}

ModelConfig mamba2(int64_t layers, int64_t hidden) {
  ModelConfig config;
  config.family = Family::mamba2;
  config.layers = layers;
  config.hidden = hidden;
  config.inner = 2 * hidden;
  config.ssm_head_dim = 64;
  config.ssm_heads = config.inner / config.ssm_head_dim;
  config.ssm_state = 128;
  config.ssm_groups = 1;
  config.conv_kernel = 4;
  config.vocab = 50288;
  config.max_positions = int64_t{1} << 31;
  config.tied_embeddings = true;
  config.dtype = "bfloat16";
  config.bos = 0;
  config.eos = {0};
  return config;
}

struct Published {
  std::vector<std::string> names;  // short name first
  ModelConfig config;
};

const std::vector<Published>& published() {
  static const std::vector<Published> table = {
      {{"phi-3.5-mini", "microsoft/Phi-3.5-mini-instruct"}, phi35_mini()},
      {{"llama-3.2-1b", "meta-llama/Llama-3.2-1B"}, llama32_1b({128001})},
      {{"llama-3.2-1b-instruct", "meta-llama/Llama-3.2-1B-Instruct"},
       llama32_1b({128001, 128008, 128009})},
      {{"qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B"},
       qwen(Family::qwen2, 24, 896, 4864, 14, 2, 64, 32768, {151643})},
      {{"qwen2.5-0.5b-instruct", "Qwen/Qwen2.5-0.5B-Instruct"},
       qwen(Family::qwen2, 24, 896, 4864, 14, 2, 64, 32768, {151645, 151643})},
      {{"qwen3-0.6b", "Qwen/Qwen3-0.6B"},
       qwen(Family::qwen3, 28, 1024, 3072, 16, 8, 128, 40960, {151645, 151643})},
      {{"mamba2-130m", "state-spaces/mamba2-130m-hf"}, mamba2(24, 768)},
      {{"mamba2-370m", "state-spaces/mamba2-370m-hf"}, mamba2(48, 1024)},
      {{"mamba2-780m", "state-spaces/mamba2-780m-hf"}, mamba2(48, 1536)},
      {{"mamba2-1.3b", "state-spaces/mamba2-1.3b-hf"}, mamba2(48, 2048)},
      {{"mamba2-2.7b", "state-spaces/mamba2-2.7b-hf"}, mamba2(64, 2560)},
  };
  return table;
}

}  // namespace

const ModelConfig* published_shape(const std::string& name) {
  const std::string bare = name.substr(0, name.find('@'));  // a revision does not change the shape
  for (const Published& entry : published()) {
    if (std::find(entry.names.begin(), entry.names.end(), bare) != entry.names.end()) {
      return &entry.config;
    }
  }
  return nullptr;
}

std::vector<std::string> published_shape_names() {
  std::vector<std::string> names;
  for (const Published& entry : published()) {
    names.insert(names.end(), entry.names.begin(), entry.names.end());
  }
  return names;
}

}  // namespace qsweep::model
