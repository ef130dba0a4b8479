// forward() of llama, phi3, qwen2 and qwen3:
//   h = embed(tokens);  per block  h += O attention(rope(norm_qk(QKV norm(h))));  h += D (silu(G n)
//   * U n), n = norm(h);  out = norm(h).
// The rows of all chunks go through each linear together; attention runs chunk by chunk over its
// own cache.
#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "kernels/embedding/embedding.hpp"
#include "kernels/linear/linear.hpp"
#include "kernels/residual/residual.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
#include "kernels/rope/rope.hpp"
#include "kernels/silu_mul/silu_mul.hpp"
#include "model/structure.hpp"

namespace qsweep::model {
namespace {

// A chunk as it is run: with the history in front where the cache is computed anew.
struct Sequence {
  State* state;
  int64_t row = 0, rows = 0;  // of the batch
  int64_t first = 0;          // position of its first row
  int64_t replayed = 0;       // leading rows that only rebuild the cache
  bool long_regime = false;
};

struct Batch {
  std::vector<int32_t> tokens;
  std::vector<Sequence> sequences;
  int64_t replayed = 0;
  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

Batch plan_batch(const Model& model, std::span<const Chunk> chunks) {
  Batch batch;
  for (const Chunk& chunk : chunks) {
    State& state = *chunk.state;
    Sequence sequence{&state};
    sequence.row = batch.rows();
    const int64_t total = state.length() + static_cast<int64_t>(chunk.tokens.size());
    sequence.long_regime = model.config.rope.kind == RopeKind::longrope &&
                           total > model.config.rope.original_max_positions;
    if (state.length() > 0 && sequence.long_regime != state.long_regime) {
      sequence.replayed = state.length();
      batch.tokens.insert(batch.tokens.end(), state.tokens.begin(), state.tokens.end());
    } else {
      sequence.first = state.length();
    }
    batch.tokens.insert(batch.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    sequence.rows = batch.rows() - sequence.row;
    batch.replayed += sequence.replayed;
    batch.sequences.push_back(sequence);
  }
  return batch;
}

// Everything one forward() works in.
struct Run {
  const device::Context& context;
  const Model& model;
  const Batch& batch;
  const LinearObserver* observer;
  int64_t q_width, kv_width;  // heads * head_dim, kv_heads * head_dim
  Matrix hidden, normed;      // [rows, hidden]
  Matrix qkv;                 // [rows, q_width + 2 kv_width]
  Matrix attended;            // [rows, q_width]
  Matrix gate_up;             // [rows, 2 ffn]
  Matrix gated;               // [rows, ffn]
  Matrix cos, sin;            // [rows, head_dim / 2]

  Run(const device::Context& ctx, const Model& m, const Batch& b, const LinearObserver* o)
      : context(ctx),
        model(m),
        batch(b),
        observer(o),
        q_width(m.config.heads * m.config.head_dim),
        kv_width(m.config.kv_heads * m.config.head_dim),
        hidden(b.rows(), m.config.hidden),
        normed(b.rows(), m.config.hidden),
        qkv(b.rows(), q_width + 2 * kv_width),
        attended(b.rows(), q_width),
        gate_up(b.rows(), 2 * m.config.ffn),
        gated(b.rows(), m.config.ffn),
        cos(b.rows(), m.config.head_dim / 2),
        sin(b.rows(), m.config.head_dim / 2) {}
};

void embed(Run& run) {
  kernels::embedding(run.context, {run.model.embedding.get(), run.batch.tokens.data(),
                                   run.batch.rows(), run.hidden.data()});
}

void prepare_rope(Run& run) {
  for (const Sequence& sequence : run.batch.sequences) {
    const auto& frequencies = sequence.long_regime ? run.model.rope_long : run.model.rope_short;
    kernels::rope_table(run.context, {frequencies.data(), run.model.config.rope.attention_factor,
                                      sequence.first, sequence.rows, run.cos.cols,
                                      run.cos.row(sequence.row), run.sin.row(sequence.row)});
  }
}

void norm(Run& run, const Vector& weight, const Matrix& x, Matrix& y) {
  kernels::rmsnorm(run.context, {x.data(), x.cols, weight->data(), run.model.config.norm_eps,
                                 x.rows, 1, x.cols, y.data(), y.cols});
}

// Linears whose outputs stand side by side in y.
void project(Run& run, std::span<const Linear> linears, const Matrix& x, Matrix& y) {
  int64_t column = 0;
  for (const Linear& linear : linears) {
    apply_linear(run.context, linear, x.data(), x.rows, y.data() + column, y.cols, run.observer);
    column += linear.weight->rows;
  }
}

// Normalises (where the family does) and turns `heads` heads that begin at `column` of qkv.
void turn_heads(Run& run, const Vector& head_norm, int64_t column, int64_t heads) {
  const ModelConfig& config = run.model.config;
  float* x = run.qkv.data() + column;
  const int64_t stride = run.qkv.cols;
  if (head_norm) {
    kernels::rmsnorm(run.context, {x, stride, head_norm->data(), config.norm_eps, run.qkv.rows,
                                   heads, config.head_dim, x, stride});
  }
  kernels::rope(run.context,
                {x, stride, run.qkv.rows, heads, config.head_dim, run.cos.data(), run.sin.data()});
}

void attend(Run& run, const Sequence& sequence, int64_t layer) {
  const float* q = run.qkv.row(sequence.row);
  const float* k = q + run.q_width;
  const float* v = k + run.kv_width;
  const int64_t stride = run.qkv.cols;
  const auto keys = sequence.state->keys(layer), values = sequence.state->values(layer);
  kernels::cache_append(run.context, {k, stride, sequence.rows, sequence.first, keys});
  kernels::cache_append(run.context, {v, stride, sequence.rows, sequence.first, values});
  kernels::attention(
      run.context, {q, stride, sequence.rows, run.model.config.heads, sequence.first, keys, values,
                    run.attended.row(sequence.row), run.attended.cols});
}

void add_residual(Run& run) {
  kernels::residual_add(run.context, run.normed.data(), run.hidden.data(),
                        run.hidden.rows * run.hidden.cols);
}

void attention_block(Run& run, const Block& block, int64_t layer) {
  norm(run, block.attention_norm, run.hidden, run.normed);
  project(run, block.qkv, run.normed, run.qkv);
  turn_heads(run, block.q_norm, 0, run.model.config.heads);
  turn_heads(run, block.k_norm, run.q_width, run.model.config.kv_heads);
  for (const Sequence& sequence : run.batch.sequences) attend(run, sequence, layer);
  project(run, {&block.o, 1}, run.attended, run.normed);
  add_residual(run);
}

void mlp_block(Run& run, const Block& block) {
  const int64_t ffn = run.model.config.ffn;
  norm(run, block.mlp_norm, run.hidden, run.normed);
  project(run, block.gate_up, run.normed, run.gate_up);
  kernels::silu_mul(run.context, {run.gate_up.data(), 2 * ffn, run.gate_up.data() + ffn, 2 * ffn,
                                  run.gate_up.rows, ffn, run.gated.data()});
  project(run, {&block.down, 1}, run.gated, run.normed);
  add_residual(run);
}

// The rows that were asked for, without the replayed ones.
Matrix asked_rows(const Run& run) {
  Matrix result(run.batch.rows() - run.batch.replayed, run.hidden.cols);
  int64_t at = 0;
  for (const Sequence& sequence : run.batch.sequences) {
    const int64_t count = sequence.rows - sequence.replayed;
    std::copy_n(run.normed.row(sequence.row + sequence.replayed), count * result.cols,
                result.row(at));
    at += count;
  }
  return result;
}

// Only now: a forward() that throws half-way leaves the lengths as they were.
void advance_states(std::span<const Chunk> chunks, const Batch& batch) {
  for (size_t i = 0; i < chunks.size(); ++i) {
    State& state = *chunks[i].state;
    state.tokens.insert(state.tokens.end(), chunks[i].tokens.begin(), chunks[i].tokens.end());
    state.long_regime = batch.sequences[i].long_regime;
  }
}

}  // namespace

void apply_linear(const device::Context& context, const Linear& linear, const float* x,
                  int64_t rows, float* y, int64_t ldy, const LinearObserver* observer) {
  if (observer != nullptr) (*observer)(linear, x, rows);
  kernels::linear(context, {linear.weight.get(), linear.bias ? linear.bias->data() : nullptr, x,
                            linear.weight->cols, rows, y, ldy, linear.calls.get()});
}

Matrix forward_transformer(const device::Context& context, const Model& model,
                           std::span<const Chunk> chunks, const LinearObserver* observer) {
  const Batch batch = plan_batch(model, chunks);
  Run run(context, model, batch, observer);
  embed(run);
  prepare_rope(run);
  for (size_t layer = 0; layer < model.blocks.size(); ++layer) {
    attention_block(run, model.blocks[layer], static_cast<int64_t>(layer));
    mlp_block(run, model.blocks[layer]);
  }
  norm(run, model.final_norm, run.hidden, run.normed);
  advance_states(chunks, batch);
  return batch.replayed == 0 ? std::move(run.normed) : asked_rows(run);
}

}  // namespace qsweep::model
