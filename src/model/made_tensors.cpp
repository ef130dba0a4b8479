#include "model/made_tensors.hpp"

#include <array>
#include <cmath>
#include <utility>

#include "base/half.hpp"

namespace qsweep::model {
namespace {

constexpr int table_size = 1 << 16;
constexpr double weight_deviation = 0.02;  // transformers' initializer_range

// Quantiles of the normal distribution by bisection of erfc, once.
const std::vector<float>& normal_quantiles() {
  static const std::vector<float> table = [] {
    std::vector<float> values(table_size);
    for (int i = 0; i < table_size / 2; ++i) {
      const double p = (i + 0.5) / table_size;
      double low = -6, high = 0;
      for (int step = 0; step < 40; ++step) {
        const double middle = (low + high) / 2;
        (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
      }
      values[static_cast<size_t>(i)] = static_cast<float>(low);
      values[static_cast<size_t>(table_size - 1 - i)] = static_cast<float>(-low);
    }
    return values;
  }();
  return table;
}

// p: in (0, 1).
float quantile(const MadeTensor& tensor, int i) {
  const double p = (i + 0.5) / table_size;
  switch (tensor.spread) {
    case Spread::normal:
      return static_cast<float>(tensor.scale) * normal_quantiles()[static_cast<size_t>(i)];
    case Spread::constant:
      return static_cast<float>(tensor.scale);
    case Spread::uniform:
      return static_cast<float>(tensor.scale * (2 * p - 1));
    case Spread::decay_log:
      return static_cast<float>(std::log(1 + 15 * p));
    case Spread::step_bias: {
      const double step = 0.001 * std::pow(100.0, p);
      return static_cast<float>(step + std::log(-std::expm1(-step)));
    }
  }
  return 0;
}

// Linears that end a branch are smaller, as many branches add up.
double branch_deviation(const ModelConfig& c) {
  const int branches = c.is_ssm() ? 1 : 2;
  return weight_deviation / std::sqrt(static_cast<double>(branches * c.layers));
}

using Tensors = std::vector<MadeTensor>;

void add_norm(Tensors& tensors, const std::string& name, int64_t n) {
  tensors.push_back({name + ".weight", {n}, Spread::constant, 1});
}

void add_linear(Tensors& tensors, const std::string& name, int64_t rows, int64_t cols,
                double deviation = weight_deviation) {
  tensors.push_back({name + ".weight", {rows, cols}, Spread::normal, deviation});
}

void add_block(const ModelConfig& c, int64_t layer, Tensors& tensors) {
  const std::string prefix = "model.layers." + std::to_string(layer) + ".";
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
  add_norm(tensors, prefix + "input_layernorm", c.hidden);
  add_norm(tensors, prefix + "post_attention_layernorm", c.hidden);
  if (c.family == Family::phi3) {
    add_linear(tensors, attention + "qkv_proj", q + 2 * kv, c.hidden);
    add_linear(tensors, mlp + "gate_up_proj", 2 * c.ffn, c.hidden);
  } else {
    const std::array<std::pair<const char*, int64_t>, 3> parts = {
        {{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}}};
    for (const auto& [name, rows] : parts) {
      add_linear(tensors, attention + name, rows, c.hidden);
      if (c.qkv_bias) {
        tensors.push_back({attention + name + ".bias", {rows}, Spread::constant, 0});
      }
    }
    add_linear(tensors, mlp + "gate_proj", c.ffn, c.hidden);
    add_linear(tensors, mlp + "up_proj", c.ffn, c.hidden);
  }
  if (c.qk_norm) {
    add_norm(tensors, attention + "q_norm", c.head_dim);
    add_norm(tensors, attention + "k_norm", c.head_dim);
  }
  add_linear(tensors, attention + "o_proj", c.hidden, q, branch_deviation(c));
  add_linear(tensors, mlp + "down_proj", c.hidden, c.ffn, branch_deviation(c));
}

void add_mixer(const ModelConfig& c, int64_t layer, Tensors& tensors) {
  const std::string block = "backbone.layers." + std::to_string(layer) + ".";
  const std::string mixer = block + "mixer.";
  const int64_t convolved = c.inner + 2 * c.ssm_groups * c.ssm_state;
  // torch's own start of a convolution of so many taps.
  const double tap = 1 / std::sqrt(static_cast<double>(c.conv_kernel));
  add_norm(tensors, block + "norm", c.hidden);
  add_linear(tensors, mixer + "in_proj", c.inner + convolved + c.ssm_heads, c.hidden);
  tensors.push_back({mixer + "conv1d.weight", {convolved, 1, c.conv_kernel}, Spread::uniform, tap});
  tensors.push_back({mixer + "conv1d.bias", {convolved}, Spread::uniform, tap});
  tensors.push_back({mixer + "dt_bias", {c.ssm_heads}, Spread::step_bias, 0});
  tensors.push_back({mixer + "A_log", {c.ssm_heads}, Spread::decay_log, 0});
  tensors.push_back({mixer + "D", {c.ssm_heads}, Spread::constant, 1});
  add_norm(tensors, mixer + "norm", c.inner);
  add_linear(tensors, mixer + "out_proj", c.hidden, c.inner, branch_deviation(c));
}

}  // namespace

int64_t MadeTensor::elements() const {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

std::vector<MadeTensor> made_tensors(const ModelConfig& c) {
  Tensors tensors;
  const bool ssm = c.is_ssm();
  add_linear(tensors, ssm ? "backbone.embeddings" : "model.embed_tokens", c.vocab, c.hidden);
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    ssm ? add_mixer(c, layer, tensors) : add_block(c, layer, tensors);
  }
  add_norm(tensors, ssm ? "backbone.norm_f" : "model.norm", c.hidden);
  if (!c.tied_embeddings) add_linear(tensors, "lm_head", c.vocab, c.hidden);
  return tensors;
}

std::vector<uint16_t> value_table(const MadeTensor& tensor) {
  std::vector<uint16_t> values;
  for (int i = 0; i < table_size; ++i) values.push_back(float_to_bf16(quantile(tensor, i)));
  return values;
}

}  // namespace qsweep::model
