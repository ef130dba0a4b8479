// forward() of llama, phi3, qwen2 and qwen3:
//   h = embed(tokens);  per block  h += O attention(rope(norm_qk(QKV norm(h))));  h += D (silu(G n)
//   * U n), n = norm(h);  out = norm(h).
// The rows of all chunks go through each linear together; attention runs chunk by chunk over its
// own cache.
#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "kernels/attend/attend.hpp"
#include "kernels/embedding/embedding.hpp"
#include "kernels/linear/linears.hpp"
#include "kernels/rmsnorm/rmsnorm.hpp"
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

bool is_rounded(const Linear& linear) {
  return linear.activations.format.id != quant::ActivationId::none;
}

// 0 where every linear takes its input as it is.
int64_t widest_rounded_input(const Model& model) {
  int64_t widest = 0;
  for_each_linear(model, [&](const Linear& linear) {
    if (is_rounded(linear)) widest = std::max(widest, linear.weight->cols);
  });
  return widest;
}

// Everything one forward() works in.
struct Run {
  const device::Context& context;
  const Model& model;
  const LinearObserver* observer;
  int64_t rows, q_width, kv_width;  // rows of the batch, heads * head_dim, kv_heads * head_dim
  Matrix hidden, normed;            // [rows, hidden]
  Matrix qkv;                       // [rows, q_width + 2 kv_width]
  Matrix attended;                  // [rows, q_width]
  Matrix gate_up;                   // [rows, 2 ffn]
  Matrix gated;                     // [rows, ffn]
  Matrix rounded;                   // [rows, widest rounded input]: what linears see of theirs
  Matrix cos, sin;                  // [rows, head_dim / 2]

  Run(const device::Context& ctx, const Model& m, int64_t row_count, const LinearObserver* o)
      : context(ctx),
        model(m),
        observer(o),
        rows(row_count),
        q_width(m.config.heads * m.config.head_dim),
        kv_width(m.config.kv_heads * m.config.head_dim),
        hidden(matrix(m.config.hidden)),
        normed(matrix(m.config.hidden)),
        qkv(matrix(q_width + 2 * kv_width)),
        attended(matrix(q_width)),
        gate_up(matrix(2 * m.config.ffn)),
        gated(matrix(m.config.ffn)),
        rounded(matrix(widest_rounded_input(m))),
        cos(matrix(m.config.head_dim / 2)),
        sin(matrix(m.config.head_dim / 2)) {}

 private:
  Matrix matrix(int64_t cols) const {
    return {rows, cols, device::MemoryClass::workspace, context.place()};
  }
};

// The scratch that linears() takes for norms and rounding. Where something is rounded it is not
// `normed`, which serves o and down as the scratch of their product.
float* input_scratch(Run& run, const Linear& linear) {
  return is_rounded(linear) ? run.rounded.data() : run.normed.data();
}

// Rows of one sequence in the batch; on the GPU their position may stand in its memory.
struct Rows {
  State* state;
  int64_t row, rows, first;
  bool long_regime;
  const int32_t* position = nullptr;
};

void prepare_rope(Run& run, const Rows& rows) {
  const Vector& frequencies = rows.long_regime ? run.model.rope_long : run.model.rope_short;
  kernels::rope_table(run.context, {frequencies->data(), run.model.config.rope.attention_factor,
                                    rows.first, rows.rows, run.cos.cols, run.cos.row(rows.row),
                                    run.sin.row(rows.row), rows.position});
}

void norm(Run& run, const Vector& weight, const Matrix& x, Matrix& y) {
  kernels::rmsnorm(run.context, {x.data(), x.cols, weight->data(), run.model.config.norm_eps,
                                 x.rows, 1, x.cols, y.data(), y.cols});
}

kernels::LinearPart part_of(const Linear& linear) {
  return {linear.weight.get(), linear.bias ? linear.bias->data() : nullptr, linear.calls.get()};
}

// y = the linears' outputs side by side on x, or on norm(x) where `weight` is given; then `finish`.
void project(Run& run, const Vector& weight, std::span<const Linear> linears, const Matrix& x,
             Matrix& y, kernels::Finish finish = kernels::Finish::none, Matrix* product = nullptr) {
  std::vector<kernels::LinearPart> parts;
  for (const Linear& linear : linears) {
    expect(linear.activations == linears.front().activations,
           "linears on one input round it in one way");
    parts.push_back(part_of(linear));
  }
  kernels::LinearsArgs args{};
  args.parts = parts;
  args.x = x.data();
  args.rows = x.rows;
  args.norm_weight = weight ? weight->data() : nullptr;
  args.norm_eps = run.model.config.norm_eps;
  args.activations = linears.front().activations;
  args.finish = finish;
  args.y = y.data();
  args.normed = input_scratch(run, linears.front());
  args.product = product != nullptr ? product->data() : nullptr;
  if (run.observer != nullptr) {  // it sees what the linears see
    if (weight) {
      norm(run, weight, x, run.normed);
      args.norm_weight = nullptr;
      args.x = run.normed.data();
    }
    for (const Linear& linear : linears) (*run.observer)(linear, args.x, x.rows);
  }
  kernels::linears(run.context, args);
}

void attend(Run& run, const Block& block, const Rows& rows, int64_t layer) {
  const ModelConfig& config = run.model.config;
  const auto keys = rows.state->keys(layer), values = rows.state->values(layer);
  float* qkv = run.qkv.row(rows.row);
  const auto weights = [](const Vector& vector) { return vector ? vector->data() : nullptr; };
  const kernels::HeadsArgs heads{qkv,
                                 run.qkv.cols,
                                 rows.rows,
                                 config.heads,
                                 rows.first,
                                 weights(block.q_norm),
                                 weights(block.k_norm),
                                 config.norm_eps,
                                 run.cos.row(rows.row),
                                 run.sin.row(rows.row),
                                 keys,
                                 values,
                                 rows.position};
  // A recorded step begins with the embedding, which waits for the step before.
  const bool settled = rows.position != nullptr;
  kernels::attend(run.context, {heads, run.attended.row(rows.row), run.attended.cols, settled});
}

void run_block(Run& run, const Block& block, std::span<const Rows> sequences, int64_t layer) {
  using kernels::Finish;
  project(run, block.attention_norm, block.qkv, run.hidden, run.qkv);
  for (const Rows& rows : sequences) attend(run, block, rows, layer);
  project(run, nullptr, {&block.o, 1}, run.attended, run.hidden, Finish::residual, &run.normed);
  project(run, block.mlp_norm, block.gate_up, run.hidden, run.gated, Finish::gate, &run.gate_up);
  project(run, nullptr, {&block.down, 1}, run.gated, run.hidden, Finish::residual, &run.normed);
}

// tokens [rows] in the context's place -> run.hidden, before the last norm.
void run_blocks(Run& run, const int32_t* tokens, std::span<const Rows> sequences) {
  kernels::embedding(run.context, {run.model.embedding.get(), tokens, run.rows, run.hidden.data()});
  for (const Rows& rows : sequences) prepare_rope(run, rows);
  for (size_t layer = 0; layer < run.model.blocks.size(); ++layer) {
    run_block(run, run.model.blocks[layer], sequences, static_cast<int64_t>(layer));
  }
}

// Token ids where the ops expect them.
device::Buffer placed_tokens(const device::Context& context, const std::vector<int32_t>& tokens) {
  const size_t bytes = tokens.size() * sizeof(int32_t);
  device::Buffer buffer(bytes, device::MemoryClass::workspace, context.place());
  device::copy_bytes(buffer.data(), context.place(), tokens.data(), device::Place::host, bytes);
  return buffer;
}

// The rows that were asked for, without the replayed ones.
Matrix asked_rows(const Run& run, const Batch& batch) {
  Matrix result(batch.rows() - batch.replayed, run.hidden.cols, device::MemoryClass::workspace,
                run.context.place());
  int64_t at = 0;
  for (const Sequence& sequence : batch.sequences) {
    const int64_t count = sequence.rows - sequence.replayed;
    device::copy_bytes(result.row(at), run.context.place(),
                       run.normed.row(sequence.row + sequence.replayed), run.context.place(),
                       static_cast<size_t>(count * result.cols) * sizeof(float));
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
                  int64_t rows, Matrix& y, const LinearObserver* observer) {
  if (observer != nullptr) (*observer)(linear, x, rows);
  const kernels::LinearPart part = part_of(linear);
  Matrix rounded(is_rounded(linear) ? rows : 0, part.weight->cols, device::MemoryClass::workspace,
                 context.place());
  kernels::LinearsArgs args{};
  args.parts = {&part, 1};
  args.x = x;
  args.rows = rows;
  args.activations = linear.activations;
  args.y = y.data();
  args.normed = rounded.data();
  kernels::linears(context, args);
}

Matrix forward_transformer(const device::Context& context, const Model& model,
                           std::span<const Chunk> chunks, const LinearObserver* observer) {
  const Batch batch = plan_batch(model, chunks);
  Run run(context, model, batch.rows(), observer);
  std::vector<Rows> sequences;
  for (const Sequence& sequence : batch.sequences) {
    sequences.push_back(
        {sequence.state, sequence.row, sequence.rows, sequence.first, sequence.long_regime});
  }
  const device::Buffer tokens = placed_tokens(context, batch.tokens);
  run_blocks(run, tokens.as<int32_t>(), sequences);
  norm(run, model.final_norm, run.hidden, run.normed);
  advance_states(chunks, batch);
  return batch.replayed == 0 ? std::move(run.normed) : asked_rows(run, batch);
}

void decode_transformer(const device::Context& context, const Model& model,
                        const DecodeInput& input, Matrix& logits) {
  Run run(context, model, 1, nullptr);
  const Rows rows{input.state, 0, 1, 0, input.long_regime, input.position};
  run_blocks(run, input.token, {&rows, 1});
  project(run, model.final_norm, {&model.head, 1}, run.hidden, logits);
}

}  // namespace qsweep::model
