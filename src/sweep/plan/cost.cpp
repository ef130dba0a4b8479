#include "sweep/plan/cost.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "eval/workload.hpp"

namespace qsweep::sweep {
namespace {

using model::Family;
using model::ModelConfig;
using quant::LinearRole;

constexpr int64_t fp32_bytes = 4;
constexpr int64_t logit_rows = 64;  // rows of logits held at once: two models' blocks of 32

int64_t checkpoint_bytes(const ModelConfig& shape) {
  return shape.dtype == "float32" ? 4 : 2;
}

// Elements of all linears of all blocks.
double block_elements(const ModelConfig& shape) {
  double sum = 0;
  for (const LinearShape& linear : block_linears(shape)) {
    sum += static_cast<double>(linear.rows) * static_cast<double>(linear.cols);
  }
  return sum * static_cast<double>(shape.layers);
}

double head_elements(const ModelConfig& shape) {
  return static_cast<double>(shape.vocab) * static_cast<double>(shape.hidden);
}

// Bytes of one linear in the layers that share the same format.
uint64_t linear_bytes(const ModelConfig& shape, const quant::QuantConfig& config,
                      const LinearShape& linear) {
  const auto bytes_in = [&](int64_t layer) -> uint64_t {
    const auto spec = quant::weight_format(config, linear.role, layer, shape.layers);
    if (spec) return quant::packed_size(*spec, linear.rows, linear.cols).total();
    return static_cast<uint64_t>(linear.rows * linear.cols * checkpoint_bytes(shape));
  };
  if (config.layers.empty()) return bytes_in(0) * static_cast<uint64_t>(shape.layers);
  uint64_t sum = 0;
  for (int64_t layer = 0; layer < shape.layers; ++layer) sum += bytes_in(layer);
  return sum;
}

// Operations that mix positions at context length n, for one token: scores and values of attention;
// state update and read-out of a state-space layer.
double mixing_flops(const ModelConfig& shape, double context) {
  const auto layers = static_cast<double>(shape.layers);
  if (shape.is_ssm()) {
    return layers * 6.0 * static_cast<double>(shape.inner) * static_cast<double>(shape.ssm_state);
  }
  return layers * 4.0 * context * static_cast<double>(shape.heads * shape.head_dim);
}

// Bytes of cache or state that one token reads at context length n; both are kept in fp32.
double state_bytes(const ModelConfig& shape, double context) {
  if (shape.is_ssm()) {
    const int64_t conv = (shape.inner + 2 * shape.ssm_groups * shape.ssm_state) * shape.conv_kernel;
    return static_cast<double>(shape.layers * (shape.inner * shape.ssm_state + conv) * fp32_bytes);
  }
  return context * static_cast<double>(shape.kv_elements_per_token() * fp32_bytes);
}

double seconds_of(double bytes, double flops, const Rates& rates) {
  return std::max(bytes / rates.bytes_per_s, flops / rates.flops_per_s);
}

// A forward pass over n tokens from an empty state; `logits` rows go through the head.
double forward_seconds(const ModelConfig& shape, const WeightCost& weights, double n, double logits,
                       const Rates& rates) {
  const double flops = n * (2 * block_elements(shape) + mixing_flops(shape, n / 2)) +
                       2 * logits * head_elements(shape);
  return seconds_of(static_cast<double>(weights.read) + state_bytes(shape, n), flops, rates);
}

double profile_seconds(const eval::ProfileParams& params, const CostInput& input) {
  const ModelConfig& shape = *input.shape;
  const auto prompt = static_cast<double>(params.prompt),
             output = static_cast<double>(params.output);
  const double context = prompt + output / 2;  // the mean over the steps
  const double step_flops =
      2 * (block_elements(shape) + head_elements(shape)) + mixing_flops(shape, context);
  const double step_bytes = static_cast<double>(input.config.read) + state_bytes(shape, context);
  const double round = forward_seconds(shape, input.config, prompt, 1, input.rates) +
                       (output - 1) * seconds_of(step_bytes, step_flops, input.rates);
  return static_cast<double>(params.warmup + 1) * round;
}

double perplexity_seconds(const eval::PerplexityParams& params, const CostInput& input) {
  auto tokens = static_cast<double>(input.text_tokens);
  if (params.max_tokens > 0) tokens = std::min(tokens, static_cast<double>(params.max_tokens));
  const auto window = static_cast<double>(params.window),
             stride = static_cast<double>(params.stride);
  const double windows = std::max(1.0, 1 + std::max(0.0, tokens - window) / stride);
  const double scored = tokens / windows;
  double one =
      forward_seconds(*input.shape, input.config, std::min(window, tokens), scored, input.rates);
  if (params.reference) {
    // A rank keeps the baseline's hidden states where they fit, so that a run adds only its head.
    const double states = windows * window * static_cast<double>(input.shape->hidden * fp32_bytes);
    one += states <= static_cast<double>(eval::max_reference_bytes)
               ? 2 * scored * head_elements(*input.shape) / input.rates.flops_per_s
               : forward_seconds(*input.shape, input.baseline, std::min(window, tokens), scored,
                                 input.rates);
  }
  return windows * one;
}

}  // namespace

std::vector<LinearShape> block_linears(const ModelConfig& shape) {
  const int64_t hidden = shape.hidden, ffn = shape.ffn;
  const int64_t q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  if (shape.is_ssm()) {
    const int64_t in = 2 * shape.inner + 2 * shape.ssm_groups * shape.ssm_state + shape.ssm_heads;
    return {{LinearRole::in_proj, in, hidden}, {LinearRole::out_proj, hidden, shape.inner}};
  }
  if (shape.family == Family::phi3) {
    return {{LinearRole::qkv, q + 2 * kv, hidden},
            {LinearRole::o, hidden, q},
            {LinearRole::gate_up, 2 * ffn, hidden},
            {LinearRole::down, hidden, ffn}};
  }
  return {{LinearRole::q, q, hidden},      {LinearRole::k, kv, hidden},
          {LinearRole::v, kv, hidden},     {LinearRole::o, hidden, q},
          {LinearRole::gate, ffn, hidden}, {LinearRole::up, ffn, hidden},
          {LinearRole::down, hidden, ffn}};
}

LinearShape head_linear(const ModelConfig& shape) {
  return {LinearRole::lm_head, shape.vocab, shape.hidden};
}

WeightCost weight_cost(const ModelConfig& shape, const quant::QuantConfig& config) {
  const auto width = static_cast<uint64_t>(checkpoint_bytes(shape));
  const auto table = static_cast<uint64_t>(head_elements(shape)) * width;
  uint64_t blocks = 0, raw_blocks = 0;
  for (const LinearShape& linear : block_linears(shape)) {
    blocks += linear_bytes(shape, config, linear);
    raw_blocks += static_cast<uint64_t>(linear.rows * linear.cols * shape.layers) * width;
  }
  const LinearShape head = head_linear(shape);
  const auto spec = quant::weight_format(config, LinearRole::lm_head, -1, shape.layers);
  const uint64_t head_bytes =
      spec ? quant::packed_size(*spec, head.rows, head.cols).total() : table;
  // Norms, biases, convolutions: whatever the parameter count holds beyond linears and tables.
  const uint64_t tables = shape.tied_embeddings ? table : 2 * table;
  const uint64_t all = static_cast<uint64_t>(shape.parameters()) * width;
  const uint64_t rest = all > raw_blocks + tables ? all - raw_blocks - tables : 0;
  const bool own_head = !shape.tied_embeddings || spec.has_value();
  return {blocks + rest + table + (own_head ? head_bytes : 0), blocks + rest + head_bytes};
}

std::string linears_problem(const ModelConfig& shape, const quant::QuantConfig& config) {
  const auto problem_of = [&](const LinearShape& linear, int64_t layer) -> std::string {
    const auto spec = quant::weight_format(config, linear.role, layer, shape.layers);
    std::string problem =
        spec ? quant::shape_problem(*spec, linear.rows, linear.cols) : std::string();
    if (problem.empty()) return problem;
    return std::string(name_of(linear.role)) + " [" + std::to_string(linear.rows) + ", " +
           std::to_string(linear.cols) + "]: " + problem;
  };
  for (const LinearShape& linear : block_linears(shape)) {
    const int64_t layers =
        config.layers.empty() ? std::min<int64_t>(1, shape.layers) : shape.layers;
    for (int64_t layer = 0; layer < layers; ++layer) {
      std::string problem = problem_of(linear, layer);
      if (!problem.empty()) return problem;
    }
  }
  return problem_of(head_linear(shape), -1);
}

int64_t context_of(const eval::Cell& cell) {
  if (const auto* profile = std::get_if<eval::ProfileParams>(&cell.params))
    return profile->prompt + profile->output;
  if (const auto* perplexity = std::get_if<eval::PerplexityParams>(&cell.params))
    return perplexity->window;
  if (const auto* later = std::get_if<eval::LaterParams>(&cell.params)) {
    const auto params = nlohmann::json::parse(later->json);
    return params.value("prompt", int64_t{0}) + params.value("output", int64_t{0}) +
           params.value("length", int64_t{0});
  }
  return 0;
}

double predict_seconds(const eval::Cell& cell, const CostInput& input) {
  if (const auto* synthetic = std::get_if<eval::SyntheticParams>(&cell.params)) {
    return synthetic->seconds * static_cast<double>(synthetic->length);
  }
  if (input.shape == nullptr) return 0;
  double seconds = input.rates.overhead_s;
  if (const auto* profile = std::get_if<eval::ProfileParams>(&cell.params))
    seconds += profile_seconds(*profile, input);
  if (const auto* perplexity = std::get_if<eval::PerplexityParams>(&cell.params)) {
    seconds += perplexity_seconds(*perplexity, input);
  }
  return seconds;
}

uint64_t working_bytes(const ModelConfig& shape, const eval::Cell& cell) {
  const int64_t context = context_of(cell);
  if (context == 0) return 0;
  const auto* profile = std::get_if<eval::ProfileParams>(&cell.params);
  const int64_t rows = profile != nullptr ? profile->prompt : context;
  // Of the rows in flight: the residual stream, a norm's output, the projections of the widest half
  // of a block.
  const int64_t attention =
      (shape.heads + 2 * shape.kv_heads) * shape.head_dim + shape.heads * shape.head_dim;
  const int64_t widest = std::max({attention, 3 * shape.ffn, 4 * shape.inner});
  const double workspace =
      static_cast<double>(rows) * static_cast<double>(2 * shape.hidden + widest) * fp32_bytes;
  const double logits =
      static_cast<double>(logit_rows) * static_cast<double>(shape.vocab) * fp32_bytes;
  return static_cast<uint64_t>(state_bytes(shape, static_cast<double>(context)) + workspace +
                               logits);
}

}  // namespace qsweep::sweep
