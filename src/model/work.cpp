// Bytes and operations that the mathematics asks for: the yardstick of "fraction of the ceiling",
// so nothing a particular kernel does on top of it is counted.
#include <set>

#include "model/structure.hpp"

namespace qsweep::model {
namespace {

double vector_bytes(const Vector& vector) {
  return vector ? static_cast<double>(vector->buffer.size()) : 0;
}

double norm_bytes(const Model& model) {
  double bytes = vector_bytes(model.final_norm);
  for (const Block& block : model.blocks) {
    for (const Vector& norm : {block.attention_norm, block.mlp_norm, block.q_norm, block.k_norm}) {
      bytes += vector_bytes(norm);
    }
  }
  return bytes;
}

struct LinearWork {
  double bytes = 0, flops = 0;  // one pass; flops of one row
};

// Of the blocks alone, or with the head.
LinearWork linear_work(const Model& model, bool head) {
  LinearWork work;
  for_each_linear(model, [&](const Linear& linear) {
    if (&linear == &model.head && !head) return;
    const quant::PackedMatrix& w = *linear.weight;
    work.bytes += static_cast<double>(w.bytes()) + vector_bytes(linear.bias);
    work.flops += 2.0 * static_cast<double>(w.rows) * static_cast<double>(w.cols);
  });
  return work;
}

double embedding_row_bytes(const Model& model) {
  return static_cast<double>(model.embedding->bytes()) / static_cast<double>(model.config.vocab);
}

double kv_bytes_per_token(const Model& model) {
  const int64_t element = model.compute == device::Compute::bf16 ? 2 : 4;
  return static_cast<double>(model.config.kv_elements_per_token() * element);
}

// Scores and weighted values of one query row against n positions, all layers.
double attention_flops(const Model& model, double n) {
  const ModelConfig& c = model.config;
  return 4.0 * static_cast<double>(c.layers * c.heads * c.head_dim) * n;
}

}  // namespace

uint64_t resident_weight_bytes(const Model& model) {
  std::set<const void*> counted;
  uint64_t bytes = static_cast<uint64_t>(norm_bytes(model)) + model.embedding->bytes();
  counted.insert(model.embedding.get());
  for_each_linear(model, [&](const Linear& linear) {
    if (counted.insert(linear.weight.get()).second) bytes += linear.weight->bytes();
    if (linear.bias) bytes += linear.bias->buffer.size();
  });
  return bytes;
}

Work decode_work(const Model& model, int64_t context_length) {
  const LinearWork linear = linear_work(model, true);
  const auto n = static_cast<double>(context_length);
  return {
      linear.bytes + norm_bytes(model) + embedding_row_bytes(model) + n * kv_bytes_per_token(model),
      linear.flops + attention_flops(model, n)};
}

Work prefill_work(const Model& model, int64_t tokens) {
  const LinearWork blocks = linear_work(model, false), all = linear_work(model, true);
  const auto n = static_cast<double>(tokens);
  return {
      all.bytes + norm_bytes(model) + n * (embedding_row_bytes(model) + kv_bytes_per_token(model)),
      n * blocks.flops + (all.flops - blocks.flops) + attention_flops(model, n * (n + 1) / 2)};
}

}  // namespace qsweep::model
