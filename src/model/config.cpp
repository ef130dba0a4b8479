// Reads config.json of the supported families. Every number is bounded before it sizes anything,
// and whatever would change the arithmetic silently (sliding windows, biases, other activations) is
// refused by name.
#include "model/config.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/config_parts.hpp"

namespace qsweep::model {
namespace {

constexpr uint64_t max_config_bytes = 8u << 20;  // published files are below 200 kB
constexpr int64_t max_layers = 4096, max_width = 1 << 20, max_heads = 4096, max_head_dim = 1024;
constexpr int64_t max_vocab = 1 << 24, max_context = int64_t{1} << 31;

int64_t integer_or(const Place& config, const char* key, int64_t fallback, int64_t low,
                   int64_t high) {
  const auto place = config.find(key);
  return place ? place->integer(low, high) : fallback;
}

bool flag_or(const Place& config, const char* key, bool fallback) {
  const auto place = config.find(key);
  return place ? place->boolean() : fallback;
}

void refuse_flag(const Place& config, const char* key, const char* why) {
  const auto place = config.find(key);
  if (place && place->boolean()) place->fail("is true", why);
}

Family parse_family(const Place& config) {
  const Place place = config.at("model_type");
  const auto family = parse_name<Family>(place.string());
  if (!family) {
    std::string known;
    for (const std::string& name : all_names<Family>()) known += (known.empty() ? "" : ", ") + name;
    place.fail("unknown model type '" + place.string() + "'", "known are " + known);
  }
  return *family;
}

void parse_tokens(const Place& config, ModelConfig& result) {
  const int64_t last = result.vocab - 1;
  if (const auto bos = config.find("bos_token_id")) result.bos = bos->integer(0, last);
  const auto eos = config.find("eos_token_id");
  if (!eos) return;
  result.eos.clear();
  if (!eos->is_array()) {
    result.eos.push_back(eos->integer(0, last));
    return;
  }
  if (eos->size() > 1024) eos->fail("too many ids", std::to_string(eos->size()) + ", at most 1024");
  for (size_t i = 0; i < eos->size(); ++i) result.eos.push_back(eos->at(i).integer(0, last));
}

// The window matters only where it is switched on and shorter than the longest context.
void refuse_sliding_window(const Place& config, const ModelConfig& result) {
  if (const auto types = config.find("layer_types")) {
    for (size_t i = 0; i < types->size(); ++i) {
      if (types->at(i).string() != "full_attention") {
        types->at(i).fail("unsupported layer type", "only full_attention is implemented");
      }
    }
    return;
  }
  const bool optional = result.family == Family::qwen2 || result.family == Family::qwen3;
  if (optional && !flag_or(config, "use_sliding_window", false)) return;
  const auto window = config.find("sliding_window");
  if (window && window->integer(1, max_context) < result.max_positions) {
    window->fail("sliding-window attention is not supported",
                 "the window is shorter than max_position_embeddings");
  }
}

void parse_attention_shape(const Place& config, ModelConfig& result) {
  result.heads = config.at("num_attention_heads").integer(1, max_heads);
  result.kv_heads = integer_or(config, "num_key_value_heads", result.heads, 1, result.heads);
  if (result.heads % result.kv_heads != 0) {
    config.at("num_key_value_heads")
        .fail("does not divide num_attention_heads", std::to_string(result.heads) + " heads");
  }
  if (const auto head_dim = config.find("head_dim")) {
    result.head_dim = head_dim->integer(2, max_head_dim);
  } else {
    if (result.hidden % result.heads != 0) {
      config.at("hidden_size")
          .fail("is no multiple of num_attention_heads", "and head_dim is not given");
    }
    result.head_dim = result.hidden / result.heads;
  }
  if (result.head_dim % 2 != 0 || result.head_dim < 2 || result.head_dim > max_head_dim) {
    config.fail("head_dim out of range", "found " + std::to_string(result.head_dim) +
                                             ", expected an even number up to 1024");
  }
}

void parse_transformer(const Place& config, ModelConfig& result) {
  result.ffn = config.at("intermediate_size").integer(1, max_width);
  result.max_positions = config.at("max_position_embeddings").integer(1, max_context);
  parse_attention_shape(config, result);
  result.norm_eps = number_or(config, "rms_norm_eps", result.norm_eps, 1e-12, 0.1);
  result.qkv_bias = result.family == Family::qwen2;
  result.qk_norm = result.family == Family::qwen3;
  if (!result.qkv_bias)
    refuse_flag(config, "attention_bias", "this family has no attention biases here");
  refuse_flag(config, "mlp_bias", "biased MLP projections are not supported");
  refuse_sliding_window(config, result);
  result.rope = parse_rope(config, result);
}

void parse_mamba2(const Place& config, ModelConfig& result) {
  result.inner = result.hidden * integer_or(config, "expand", 2, 1, 64);
  result.ssm_heads = config.at("num_heads").integer(1, max_heads);
  result.ssm_head_dim = config.at("head_dim").integer(1, max_head_dim);
  result.ssm_state = integer_or(config, "state_size", 128, 1, 65536);
  result.ssm_groups = integer_or(config, "n_groups", 1, 1, result.ssm_heads);
  result.conv_kernel = integer_or(config, "conv_kernel", 4, 1, 64);
  result.max_positions = max_context;
  result.norm_eps = number_or(config, "layer_norm_epsilon", 1e-5, 1e-12, 0.1);
  if (result.ssm_heads * result.ssm_head_dim != result.inner) {
    config.at("num_heads")
        .fail("num_heads * head_dim differs from expand * hidden_size",
              std::to_string(result.ssm_heads * result.ssm_head_dim) + " and " +
                  std::to_string(result.inner));
  }
  if (result.ssm_heads % result.ssm_groups != 0) {
    config.at("n_groups").fail("does not divide num_heads", std::to_string(result.ssm_heads));
  }
  refuse_flag(config, "use_bias", "biased mixer projections are not supported");
  if (!flag_or(config, "use_conv_bias", true)) {
    config.at("use_conv_bias").fail("is false", "a convolution without bias is not supported");
  }
}

void parse_activation(const Place& config) {
  const auto act = config.find("hidden_act");
  if (act && act->string() != "silu" && act->string() != "swish") {
    act->fail("unsupported activation '" + act->string() + "'", "only silu is implemented");
  }
}

ModelConfig parse_tree(const Place& config) {
  ModelConfig result;
  result.family = parse_family(config);
  result.hidden = config.at("hidden_size").integer(1, max_width);
  result.layers = config.at("num_hidden_layers").integer(1, max_layers);
  result.vocab = config.at("vocab_size").integer(1, max_vocab);
  // The families' own defaults in transformers, for files that leave the key out.
  const bool tied = result.family == Family::mamba2;
  result.tied_embeddings = flag_or(config, "tie_word_embeddings", tied);
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (const auto dtype = config.find(key)) result.dtype = dtype->string();
  }
  parse_activation(config);
  if (result.family == Family::mamba2) {
    parse_mamba2(config, result);
  } else {
    parse_transformer(config, result);
  }
  parse_tokens(config, result);
  return result;
}

}  // namespace

ModelConfig parse_config_text(const std::string& text, const std::string& file_name) {
  const nlohmann::json json = tok::parse_strict_json(python_json(text), file_name);
  return parse_tree(Place(json, file_name + ": "));
}

ModelConfig parse_config(const std::filesystem::path& config_json) {
  ModelConfig result =
      parse_config_text(read_file(config_json, max_config_bytes), config_json.string());
  // generate() of transformers takes its stop ids from here where the file exists.
  const auto generation = config_json.parent_path() / "generation_config.json";
  if (file_exists(generation)) {
    const nlohmann::json json = tok::parse_strict_json(
        python_json(read_file(generation, max_config_bytes)), generation.string());
    parse_tokens(Place(json, generation.string() + ": "), result);
  }
  return result;
}

int64_t ModelConfig::kv_elements_per_token() const {
  return 2 * layers * kv_heads * head_dim;
}

int64_t ModelConfig::parameters() const {
  const int64_t embeddings = vocab * hidden * (tied_embeddings ? 1 : 2);
  if (is_ssm()) {
    const int64_t conv_dim = inner + 2 * ssm_groups * ssm_state;
    const int64_t in_rows = inner + conv_dim + ssm_heads;
    const int64_t mixer =
        in_rows * hidden + conv_dim * (conv_kernel + 1) + 3 * ssm_heads + inner + hidden * inner;
    return embeddings + layers * (hidden + mixer) + hidden;
  }
  const int64_t q = heads * head_dim, kv = kv_heads * head_dim;
  const int64_t attention = (q + 2 * kv) * hidden + hidden * q + (qkv_bias ? q + 2 * kv : 0) +
                            (qk_norm ? 2 * head_dim : 0);
  return embeddings + layers * (2 * hidden + attention + 3 * ffn * hidden) + hidden;
}

}  // namespace qsweep::model
