#include "model/make_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/half.hpp"
#include "base/rng.hpp"
#include "model/checkpoint.hpp"
#include "model/tokenizer/byte_level.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

constexpr double weight_deviation = 0.02;            // transformers' initializer_range
constexpr uint64_t shard_bytes = uint64_t{4} << 30;  // beyond it a new file is begun

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  double deviation;  // 0: all ones (norms) or all zeros (biases)
  bool ones = false;
  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
};

// 65536 quantiles of the normal distribution in order, times `deviation`, as bf16: a uniform 16-bit
// number picks one. Quantiles by bisection of erfc, once.
const std::vector<float>& normal_quantiles() {
  static const std::vector<float> table = [] {
    constexpr int count = 1 << 16;
    std::vector<float> values(count);
    for (int i = 0; i < count / 2; ++i) {
      const double p = (i + 0.5) / count;
      double low = -6, high = 0;
      for (int step = 0; step < 40; ++step) {
        const double middle = (low + high) / 2;
        (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
      }
      values[static_cast<size_t>(i)] = static_cast<float>(low);
      values[static_cast<size_t>(count - 1 - i)] = static_cast<float>(-low);
    }
    return values;
  }();
  return table;
}

std::vector<uint16_t> scaled_quantiles(double deviation) {
  std::vector<uint16_t> values;
  for (const float quantile : normal_quantiles()) {
    values.push_back(float_to_bf16(static_cast<float>(deviation) * quantile));
  }
  return values;
}

// The tensor's values, a piece at a time; they depend on seed and name alone.
void write_values(const Tensor& tensor, uint64_t seed, const ByteSink& sink) {
  constexpr int64_t piece = 1 << 20;  // elements, a multiple of the four that one number gives
  const int64_t n = tensor.elements();
  std::vector<uint16_t> values(static_cast<size_t>(std::min(piece, n) + 3));
  std::fill(values.begin(), values.end(), float_to_bf16(tensor.ones ? 1.0f : 0.0f));
  uint64_t state = splitmix64(seed);
  for (const char c : tensor.name) {
    state = splitmix64(state ^ static_cast<unsigned char>(c));
  }
  const auto table = scaled_quantiles(tensor.deviation);
  for (int64_t at = 0; at < n; at += piece) {
    const int64_t count = std::min(piece, n - at);
    if (tensor.deviation > 0) {
      for (int64_t i = 0; i < count; i += 4) {
        uint64_t bits = splitmix64(state + static_cast<uint64_t>(at + i));
        for (int64_t k = 0; k < 4; ++k, bits >>= 16) {
          values[static_cast<size_t>(i + k)] = table[bits & 0xFFFF];
        }
      }
    }
    sink(std::as_bytes(std::span(values.data(), static_cast<size_t>(count))));
  }
}

void add_block(const ModelConfig& c, int64_t layer, std::vector<Tensor>& tensors) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  const double in = weight_deviation;
  const double out = weight_deviation / std::sqrt(2.0 * static_cast<double>(c.layers));
  const auto norm = [&](const std::string& name, int64_t n) {
    tensors.push_back({name + ".weight", {n}, 0, true});
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t cols, double deviation) {
    tensors.push_back({name + ".weight", {rows, cols}, deviation});
  };
  norm(prefix + "input_layernorm", c.hidden);
  norm(prefix + "post_attention_layernorm", c.hidden);
  if (c.family == Family::phi3) {
    linear(attention + "qkv_proj", q + 2 * kv, c.hidden, in);
    linear(mlp + "gate_up_proj", 2 * c.ffn, c.hidden, in);
  } else {
    const std::array<std::pair<const char*, int64_t>, 3> parts = {
        {{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}}};
    for (const auto& [name, rows] : parts) {
      linear(attention + name, rows, c.hidden, in);
      if (c.qkv_bias) tensors.push_back({attention + name + ".bias", {rows}, 0});
    }
    linear(mlp + "gate_proj", c.ffn, c.hidden, in);
    linear(mlp + "up_proj", c.ffn, c.hidden, in);
  }
  if (c.qk_norm) {
    norm(attention + "q_norm", c.head_dim);
    norm(attention + "k_norm", c.head_dim);
  }
  linear(attention + "o_proj", c.hidden, q, out);
  linear(mlp + "down_proj", c.hidden, c.ffn, out);
}

std::vector<Tensor> tensors_of(const ModelConfig& c) {
  std::vector<Tensor> tensors;
  tensors.push_back({"model.embed_tokens.weight", {c.vocab, c.hidden}, weight_deviation});
  for (int64_t layer = 0; layer < c.layers; ++layer) add_block(c, layer, tensors);
  tensors.push_back({"model.norm.weight", {c.hidden}, 0, true});
  if (!c.tied_embeddings) {
    tensors.push_back({"lm_head.weight", {c.vocab, c.hidden}, weight_deviation});
  }
  return tensors;
}

ordered_json rope_scaling(const RopeConfig& rope) {
  if (rope.kind == RopeKind::llama3) {
    return {{"rope_type", "llama3"},
            {"factor", rope.factor},
            {"low_freq_factor", rope.low_freq_factor},
            {"high_freq_factor", rope.high_freq_factor},
            {"original_max_position_embeddings", rope.original_max_positions}};
  }
  if (rope.kind == RopeKind::longrope) {
    return {{"type", "longrope"},
            {"short_factor", rope.short_factor},
            {"long_factor", rope.long_factor}};
  }
  return nullptr;
}

std::string config_text(const ModelConfig& c) {
  const std::map<Family, const char*> architectures = {{Family::llama, "LlamaForCausalLM"},
                                                       {Family::phi3, "Phi3ForCausalLM"},
                                                       {Family::qwen2, "Qwen2ForCausalLM"},
                                                       {Family::qwen3, "Qwen3ForCausalLM"}};
  ordered_json config = {{"architectures", {architectures.at(c.family)}},
                         {"model_type", name_of(c.family)},
                         {"hidden_size", c.hidden},
                         {"intermediate_size", c.ffn},
                         {"num_hidden_layers", c.layers},
                         {"num_attention_heads", c.heads},
                         {"num_key_value_heads", c.kv_heads},
                         {"hidden_act", "silu"},
                         {"vocab_size", c.vocab},
                         {"max_position_embeddings", c.max_positions},
                         {"rms_norm_eps", c.norm_eps},
                         {"rope_theta", c.rope.theta},
                         {"rope_scaling", rope_scaling(c.rope)},
                         {"tie_word_embeddings", c.tied_embeddings},
                         {"bos_token_id", c.bos},
                         {"eos_token_id", c.eos},
                         {"torch_dtype", "bfloat16"}};
  if (c.heads * c.head_dim != c.hidden) config["head_dim"] = c.head_dim;
  if (c.rope.kind == RopeKind::longrope) {
    config["original_max_position_embeddings"] = c.rope.original_max_positions;
  }
  return config.dump(2) + "\n";
}

// A token for each byte; the other ids of the vocabulary are names that no text is split into, so
// whatever a random model generates can be decoded.
std::string tokenizer_text(const ModelConfig& c) {
  ordered_json vocabulary = ordered_json::object();
  for (int64_t id = 0; id < c.vocab; ++id) {
    const std::string byte(1, static_cast<char>(id));
    vocabulary[id < 256 ? tok::bytes_to_alphabet(byte) : "<" + std::to_string(id) + ">"] = id;
  }
  const ordered_json byte_level = {{"type", "ByteLevel"},
                                   {"add_prefix_space", false},
                                   {"trim_offsets", true},
                                   {"use_regex", false}};
  const ordered_json tokenizer = {{"version", "1.0"},
                                  {"truncation", nullptr},
                                  {"padding", nullptr},
                                  {"added_tokens", ordered_json::array()},
                                  {"normalizer", nullptr},
                                  {"pre_tokenizer", byte_level},
                                  {"post_processor", nullptr},
                                  {"decoder", byte_level},
                                  {"model",
                                   {{"type", "BPE"},
                                    {"dropout", nullptr},
                                    {"unk_token", nullptr},
                                    {"continuing_subword_prefix", nullptr},
                                    {"end_of_word_suffix", nullptr},
                                    {"fuse_unk", false},
                                    {"byte_fallback", false},
                                    {"ignore_merges", false},
                                    {"vocab", vocabulary},
                                    {"merges", ordered_json::array()}}}};
  return tokenizer.dump() + "\n";
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name;
}

// Tensors in order, as many to a shard as fit.
std::vector<std::vector<const Tensor*>> shards_of(const std::vector<Tensor>& tensors) {
  std::vector<std::vector<const Tensor*>> shards(1);
  uint64_t filled = 0;
  for (const Tensor& tensor : tensors) {
    const auto bytes = static_cast<uint64_t>(tensor.elements()) * 2;
    if (filled > 0 && filled + bytes > shard_bytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(&tensor);
    filled += bytes;
  }
  return shards;
}

}  // namespace

MadeModel make_model(const ModelConfig& shape, uint64_t seed, const fs::path& folder) {
  if (shape.is_ssm()) {
    throw Error(ErrorKind::unavailable, "mamba2 checkpoints cannot be made yet",
                "the engine of state-space models is not in this build");
  }
  if (fs::exists(folder / "config.json")) {
    throw_invalid(folder.string() + " holds a checkpoint", "nothing is overwritten",
                  "choose another folder");
  }
  fs::create_directories(folder);
  const std::vector<Tensor> tensors = tensors_of(shape);
  const auto shards = shards_of(tensors);
  MadeModel made;
  ordered_json places = ordered_json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    std::map<std::string, TensorSource> sources;
    for (const Tensor* tensor : shards[i]) {
      sources[tensor->name] = {"BF16", tensor->shape, [tensor, seed](const ByteSink& sink) {
                                 write_values(*tensor, seed, sink);
                               }};
      places[tensor->name] = shard_name(i, shards.size());
      made.parameters += tensor->elements();
    }
    write_safetensors(folder / shard_name(i, shards.size()), sources, {{"format", "pt"}});
  }
  made.bytes = static_cast<uint64_t>(made.parameters) * 2;
  made.shards = static_cast<int>(shards.size());
  if (shards.size() > 1) {
    const ordered_json index = {{"metadata", {{"total_size", made.bytes}}}, {"weight_map", places}};
    write_file_atomic(folder / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  write_file_atomic(folder / "tokenizer.json", tokenizer_text(shape));
  write_file_atomic(folder / "tokenizer_config.json",
                    ordered_json({{"tokenizer_class", "PreTrainedTokenizerFast"}}).dump() + "\n");
  // Last: without it the folder is no checkpoint, so a half-written one is never read.
  write_file_atomic(folder / "config.json", config_text(shape));
  return made;
}

}  // namespace qsweep::model
