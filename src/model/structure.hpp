// What model.hpp keeps closed: the parts of a transformer and of its state. Families differ in
// whether q, k, v and gate, up are one linear or several, in biases and in per-head norms; all of
// that is data here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "kernels/attention/attention.hpp"
#include "model/model.hpp"

namespace qsweep::model {

using Vector = std::shared_ptr<const Matrix>;  // [1, n]

struct Block {
  Vector attention_norm;        // [1, hidden]
  std::vector<Linear> qkv;      // outputs side by side: [heads + 2 kv_heads, head_dim] in all
  Vector q_norm, k_norm;        // [1, head_dim] or null
  Linear o;                     // [hidden, heads * head_dim]
  Vector mlp_norm;              // [1, hidden]
  std::vector<Linear> gate_up;  // outputs side by side: gate [ffn], up [ffn]
  Linear down;                  // [hidden, ffn]
};

struct Model {
  std::shared_ptr<const Checkpoint> checkpoint;
  ModelConfig config;
  quant::QuantConfig quantization;
  device::Compute compute = device::Compute::fp32;       // type of activations and of the KV cache
  device::Place place = device::Place::host;             // of all weights and states
  std::shared_ptr<const quant::PackedMatrix> embedding;  // [vocab, hidden]
  std::vector<Block> blocks;
  Vector final_norm;  // [1, hidden]
  Linear head;        // [vocab, hidden]; shares the embedding where tied and not quantized
  // Frequencies [1, head_dim / 2]; longrope has two sets and picks by the length of the whole
  // sequence.
  Vector rope_short, rope_long;
  uint64_t forward_calls = 0, head_calls = 0;
};

struct DecodeGraph;  // one recorded decode step (decode_graph.cpp)

// KV cache of one sequence, and the tokens it holds: crossing longrope's original length changes
// the frequencies of every position, so the cache is then computed anew from them.
class State {
 public:
  State(const Model& model, int64_t max_tokens);
  ~State();  // waits for a step that is under way, which has the cache
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  kernels::CacheView keys(int64_t layer) const { return view(layer, 0); }
  kernels::CacheView values(int64_t layer) const { return view(layer, 1); }
  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t capacity() const { return capacity_; }
  uint64_t bytes() const { return cache_.size(); }

  std::vector<int32_t> tokens;          // seen so far
  bool long_regime = false;             // the cache was made with longrope's long factors
  std::shared_ptr<DecodeGraph> decode;  // GPU only; null before the first step

 private:
  kernels::CacheView view(int64_t layer, int64_t which) const;

  // [layers, keys and values, kv_heads, capacity, head_dim]; forward() writes through the views.
  mutable device::Buffer cache_;
  kernels::CacheType type_;
  int64_t kv_heads_, head_dim_, capacity_;
};

// forward() of the transformer families, without the checks of arguments and the counting.
Matrix forward_transformer(const device::Context& context, const Model& model,
                           std::span<const Chunk> chunks, const LinearObserver* observer);

// The logits [1, vocab] after one more token of one sequence, whose id and position stand in GPU
// memory, so that the kernels can be recorded. The states are not advanced.
struct DecodeInput {
  State* state;
  bool long_regime;
  const int32_t* token;     // [1]
  const int32_t* position;  // [1]
};
void decode_transformer(const device::Context& context, const Model& model,
                        const DecodeInput& input, Matrix& logits);

// One decode step of `state` by its recorded graph, recording it first where there is none yet, and
// the greedy choice after it. Nothing where the step needs more than that (longrope's switch).
// `more`: the step behind this one is started, too, where there is room.
std::optional<int32_t> replay_decode(const device::Context& context, Model& model, State& state,
                                     int32_t token, bool more);
// The cache is about to change otherwise: a step that is ahead no longer counts.
void interrupt_decode(State& state);

// Runs one linear on x [rows, in], observed; y [rows, out].
void apply_linear(const device::Context& context, const Linear& linear, const float* x,
                  int64_t rows, Matrix& y, const LinearObserver* observer);

// Calls f with every linear of the model in forward order.
template <class M, class F>
void for_each_linear(M& model, F f) {
  for (auto& block : model.blocks) {
    for (auto& linear : block.qkv) f(linear);
    f(block.o);
    for (auto& linear : block.gate_up) f(linear);
    f(block.down);
  }
  f(model.head);
}

}  // namespace qsweep::model
