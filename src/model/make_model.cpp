#include "model/make_model.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/rng.hpp"
#include "model/checkpoint.hpp"
#include "model/made_tensors.hpp"
#include "model/tokenizer/byte_level.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

using nlohmann::ordered_json;

constexpr uint64_t shard_bytes = uint64_t{4} << 30;  // beyond it a new file is begun

// The tensor's values, a piece at a time; they depend on seed and name alone.
void write_values(const MadeTensor& tensor, uint64_t seed, const ByteSink& sink) {
  constexpr int64_t piece = 1 << 20;  // elements, a multiple of the four that one number gives
  const int64_t n = tensor.elements();
  std::vector<uint16_t> values(static_cast<size_t>(std::min(piece, n) + 3));
  uint64_t state = splitmix64(seed);
  for (const char c : tensor.name) {
    state = splitmix64(state ^ static_cast<unsigned char>(c));
  }
  const auto table = value_table(tensor);
  for (int64_t at = 0; at < n; at += piece) {
    const int64_t count = std::min(piece, n - at);
    for (int64_t i = 0; i < count; i += 4) {
      uint64_t bits = splitmix64(state + static_cast<uint64_t>(at + i));
      for (int64_t k = 0; k < 4; ++k, bits >>= 16) {
        values[static_cast<size_t>(i + k)] = table[bits & 0xFFFF];
      }
    }
    sink(std::as_bytes(std::span(values.data(), static_cast<size_t>(count))));
  }
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

// time_step_limit stands for no limit where it is left out, which JSON cannot write.
ordered_json mamba2_config(const ModelConfig& c) {
  return {{"architectures", {"Mamba2ForCausalLM"}},
          {"model_type", name_of(c.family)},
          {"hidden_size", c.hidden},
          {"num_hidden_layers", c.layers},
          {"expand", c.inner / c.hidden},
          {"num_heads", c.ssm_heads},
          {"head_dim", c.ssm_head_dim},
          {"state_size", c.ssm_state},
          {"n_groups", c.ssm_groups},
          {"conv_kernel", c.conv_kernel},
          {"chunk_size", 256},
          {"hidden_act", "silu"},
          {"layer_norm_epsilon", c.norm_eps},
          {"rms_norm", true},
          {"residual_in_fp32", true},
          {"use_bias", false},
          {"use_conv_bias", true},
          {"vocab_size", c.vocab},
          {"tie_word_embeddings", c.tied_embeddings},
          {"bos_token_id", c.bos},
          {"eos_token_id", c.eos.front()},
          {"torch_dtype", "bfloat16"}};
}

std::string config_text(const ModelConfig& c) {
  if (c.is_ssm()) return mamba2_config(c).dump(2) + "\n";
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
std::vector<std::vector<const MadeTensor*>> shards_of(const std::vector<MadeTensor>& tensors) {
  std::vector<std::vector<const MadeTensor*>> shards(1);
  uint64_t filled = 0;
  for (const MadeTensor& tensor : tensors) {
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
  if (fs::exists(folder / "config.json")) {
    throw_invalid(folder.string() + " holds a checkpoint", "nothing is overwritten",
                  "choose another folder");
  }
  fs::create_directories(folder);
  const std::vector<MadeTensor> tensors = made_tensors(shape);
  const auto shards = shards_of(tensors);
  MadeModel made;
  ordered_json places = ordered_json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    std::map<std::string, TensorSource> sources;
    for (const MadeTensor* tensor : shards[i]) {
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
