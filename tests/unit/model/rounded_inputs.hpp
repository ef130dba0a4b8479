// A transformer's forward pass written anew from its definition, linear by linear, in double: what
// the engine must give where inputs of linears are rounded. Each step starts from the input that
// the engine's own observer saw there, so that no level can be missed by an error that grew on the
// way.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "model/structure.hpp"
#include "unit/model/reference.hpp"

namespace qsweep::test {

using Doubles = std::vector<double>;  // [rows, cols]

// ---- rounding, from the definition of the formats

// Nearest of all numbers of E4M3 up to 448, ties to the even code.
inline float nearest_fp8(float x) {
  const double magnitude = std::fabs(x);
  double best = 0;
  for (int code = 0; code < 0x7F; ++code) {
    const int exponent = code >> 3, mantissa = code & 7;
    const double value =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    const double further = std::fabs(best - magnitude), nearer = std::fabs(value - magnitude);
    if (nearer < further || (nearer == further && code % 2 == 0)) best = value;
  }
  return static_cast<float>(std::copysign(best, x));
}

inline float nearest_bf16(float x) {
  int exponent = 0;
  const double fraction = std::frexp(static_cast<double>(x), &exponent);
  return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8));
}

inline void round_row(const quant::ActivationRounding& rounding, float* x, int64_t cols) {
  using quant::ActivationId;
  const ActivationId id = rounding.format.id;
  if (id == ActivationId::none) return;
  float absmax = 0;
  for (int64_t i = 0; i < cols; ++i) absmax = std::max(absmax, std::fabs(x[i]));
  if (rounding.format.scale == quant::ActivationScale::tensor) absmax = rounding.absmax;
  const float range = id == ActivationId::fp8_e4m3 ? 448.0f : id == ActivationId::int8 ? 127 : 7;
  const float lowest = id == ActivationId::int4 ? -8 : -range;
  const float scale = std::max(absmax, 1e-8f) / range;
  for (int64_t i = 0; i < cols; ++i) {
    const float level = std::clamp(x[i] / scale, lowest, range);
    if (id == ActivationId::bf16) {
      x[i] = nearest_bf16(x[i]);
    } else if (id == ActivationId::fp8_e4m3) {
      x[i] = scale * nearest_fp8(level);
    } else {
      x[i] = scale * std::nearbyint(level);
    }
  }
}

// ---- the parts of a block

inline std::vector<float> decoded(const quant::PackedMatrix& matrix) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  quant::dequantize_rows(matrix, 0, matrix.rows, values.data());
  return values;
}

// The linears' outputs side by side: [rows, sum of out].
inline Doubles multiply(std::span<const model::Linear> linears, const std::vector<float>& x) {
  const int64_t in = linears.front().weight->cols;
  const auto rows = static_cast<int64_t>(x.size()) / in;
  std::vector<std::vector<float>> weights;
  for (const model::Linear& linear : linears) weights.push_back(decoded(*linear.weight));
  Doubles y;
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<float> row(x.begin() + r * in, x.begin() + (r + 1) * in);
    round_row(linears.front().activations, row.data(), in);
    for (size_t part = 0; part < linears.size(); ++part) {
      for (int64_t o = 0; o < linears[part].weight->rows; ++o) {
        double sum = linears[part].bias ? linears[part].bias->data()[o] : 0.0f;
        for (int64_t i = 0; i < in; ++i) {
          sum += static_cast<double>(weights[part][static_cast<size_t>(o * in + i)]) *
                 row[static_cast<size_t>(i)];
        }
        y.push_back(sum);
      }
    }
  }
  return y;
}

inline Doubles rms_normed(const Doubles& h, const model::Matrix& weight, double eps) {
  Doubles y(h.size());
  const auto cols = static_cast<size_t>(weight.cols);
  for (size_t row = 0; row < h.size(); row += cols) {
    double squares = 0;
    for (size_t i = 0; i < cols; ++i) squares += h[row + i] * h[row + i];
    const double factor = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
    for (size_t i = 0; i < cols; ++i) y[row + i] = h[row + i] * factor * weight.data()[i];
  }
  return y;
}

inline Doubles gated(const Doubles& gate_up, int64_t ffn) {
  Doubles y;
  const auto half = static_cast<size_t>(ffn);
  for (size_t row = 0; row < gate_up.size(); row += 2 * half) {
    for (size_t i = 0; i < half; ++i) {
      const double gate = gate_up[row + i];
      y.push_back(gate / (1 + std::exp(-gate)) * gate_up[row + half + i]);
    }
  }
  return y;
}

inline void add(Doubles& h, const Doubles& x) {
  for (size_t i = 0; i < h.size(); ++i) h[i] += x[i];
}

inline double distance(const std::vector<float>& got, const Doubles& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

// ---- the pass

struct Observed {
  std::map<std::string, std::vector<float>> inputs;  // by linear, as the observer saw them
  std::vector<float> logits;
};

inline Observed observe(const device::Context& context, model::Model& model,
                        const std::vector<int32_t>& tokens) {
  Observed observed;
  const model::LinearObserver observer = [&](const model::Linear& linear, const float* x,
                                             int64_t rows) {
    observed.inputs[linear.name].assign(x, x + rows * linear.weight->cols);
  };
  const auto state = model::make_state(model, static_cast<int64_t>(tokens.size()));
  const model::Chunk chunk{state.get(), tokens};
  const model::Matrix hidden = model::forward(context, model, {&chunk, 1}, &observer);
  const model::Matrix rows = model::logits(context, model, hidden.data(), hidden.rows, &observer);
  observed.logits.assign(rows.data(), rows.data() + rows.rows * rows.cols);
  return observed;
}

// The first token attends to itself alone, so what it takes from attention are its own values.
inline Doubles attended_by_the_first(const model::ModelConfig& config, const Doubles& qkv) {
  const auto width = static_cast<size_t>((config.heads + 2 * config.kv_heads) * config.head_dim);
  const auto values = width - static_cast<size_t>(config.kv_heads * config.head_dim);
  Doubles result;
  for (int64_t head = 0; head < config.heads; ++head) {
    const int64_t group = head / (config.heads / config.kv_heads);
    for (int64_t i = 0; i < config.head_dim; ++i)
      result.push_back(qkv[values + static_cast<size_t>(group * config.head_dim + i)]);
  }
  return result;
}

// Calls check(what, got, expected) for every linear's input that follows from rounded ones, and for
// the logits.
template <class Check>
void compare_pass(const model::Model& model, const std::vector<int32_t>& tokens,
                  const Observed& observed, Check check) {
  const model::ModelConfig& config = model.config;
  const auto input = [&](const model::Linear& linear) { return observed.inputs.at(linear.name); };
  const std::vector<float> embedding = decoded(*model.embedding);
  Doubles h;
  for (const int32_t token : tokens) {
    const auto row = embedding.begin() + token * config.hidden;
    h.insert(h.end(), row, row + config.hidden);
  }
  for (const model::Block& block : model.blocks) {
    const model::Linear& first = block.qkv.front();
    check(first.name, input(first), rms_normed(h, *block.attention_norm, config.norm_eps));
    const Doubles qkv = multiply(block.qkv, input(first));
    check(block.o.name, input(block.o), attended_by_the_first(config, qkv));
    add(h, multiply({&block.o, 1}, input(block.o)));
    const model::Linear& gate = block.gate_up.front();
    check(gate.name, input(gate), rms_normed(h, *block.mlp_norm, config.norm_eps));
    check(block.down.name, input(block.down),
          gated(multiply(block.gate_up, input(gate)), config.ffn));
    add(h, multiply({&block.down, 1}, input(block.down)));
  }
  check(model.head.name, input(model.head), rms_normed(h, *model.final_norm, config.norm_eps));
  check("logits", observed.logits, multiply({&model.head, 1}, input(model.head)));
}

}  // namespace qsweep::test
