#include "model/model.hpp"

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "kernels/logits/logits.hpp"
#include "model/structure.hpp"

namespace qsweep::model {
namespace {

void check_compute(const device::Context& context, const Model& model) {
  if (context.compute != model.compute) {
    throw_invalid("the model was built for " + std::string(name_of(model.compute)) + " activations",
                  "forward was called with " + std::string(name_of(context.compute)),
                  "build it with the context it runs under");
  }
  expect(context.place() == model.place, "a model runs where its weights lie");
}

void check_chunks(const Model& model, std::span<const Chunk> chunks) {
  std::set<const State*> seen;
  for (const Chunk& chunk : chunks) {
    expect(chunk.state != nullptr && seen.insert(chunk.state).second,
           "every chunk has a state of its own");
    if (chunk.tokens.empty()) throw_invalid("empty chunk", "forward needs at least one token");
    for (const int32_t token : chunk.tokens) {
      if (token < 0 || token >= model.config.vocab) {
        throw_invalid("token id " + std::to_string(token) + " out of range",
                      "the vocabulary has " + std::to_string(model.config.vocab) + " entries",
                      "is this the model's own tokenizer?");
      }
    }
    const int64_t room = chunk.state->capacity() - chunk.state->length();
    if (static_cast<int64_t>(chunk.tokens.size()) > room) {
      throw_invalid(
          "the state is full",
          std::to_string(chunk.tokens.size()) + " tokens, room for " + std::to_string(room),
          "make it with a larger max_tokens");
    }
  }
}

}  // namespace

Matrix::Matrix(int64_t row_count, int64_t col_count, device::MemoryClass memory_class,
               device::Place place)
    : rows(row_count),
      cols(col_count),
      buffer(static_cast<size_t>(row_count * col_count) * sizeof(float), memory_class, place) {}

Matrix on_host(Matrix matrix) {
  if (matrix.buffer.place() != device::Place::host) {
    matrix.buffer =
        device::copy_of(matrix.buffer, device::MemoryClass::workspace, device::Place::host);
  }
  return matrix;
}

Matrix forward(const device::Context& context, Model& model, std::span<const Chunk> chunks,
               const LinearObserver* observer) {
  check_compute(context, model);
  check_chunks(model, chunks);
  if (chunks.empty()) return Matrix(0, model.config.hidden);
  for (const Chunk& chunk : chunks) interrupt_decode(*chunk.state);
  Matrix hidden = forward_transformer(context, model, chunks, observer);
  ++model.forward_calls;
  return hidden;
}

Matrix logits(const device::Context& context, Model& model, const float* hidden, int64_t rows,
              const LinearObserver* observer) {
  check_compute(context, model);
  Matrix result(rows, model.config.vocab, device::MemoryClass::workspace, context.place());
  apply_linear(context, model.head, hidden, rows, result, observer);
  ++model.head_calls;
  return result;
}

int32_t next_token(const device::Context& context, Model& model, const Chunk& chunk, bool more) {
  if (context.backend == device::Backend::cuda && chunk.tokens.size() == 1) {
    check_compute(context, model);
    check_chunks(model, {&chunk, 1});
    if (const auto token = replay_decode(context, model, *chunk.state, chunk.tokens[0], more)) {
      return *token;
    }
  }
  const Matrix hidden = forward(context, model, {&chunk, 1});
  const Matrix row = logits(context, model, hidden.row(hidden.rows - 1), 1);
  device::Buffer best(sizeof(int32_t), device::MemoryClass::workspace, context.place());
  kernels::argmax_rows(context, row.data(), 1, row.cols, best.as<int32_t>());
  int32_t token = 0;
  device::copy_bytes(&token, device::Place::host, best.data(), context.place(), sizeof token);
  return token;
}

const quant::QuantConfig& quantization_of(const Model& model) {
  return model.quantization;
}
const ModelConfig& config_of(const Model& model) {
  return model.config;
}

device::Compute compute_of(const Model& model) {
  return model.compute;
}

std::vector<const Linear*> linears(const Model& model) {
  std::vector<const Linear*> result;
  for_each_linear(model, [&](const Linear& linear) { result.push_back(&linear); });
  return result;
}

std::vector<Linear*> linears(Model& model) {
  std::vector<Linear*> result;
  for_each_linear(model, [&](Linear& linear) { result.push_back(&linear); });
  return result;
}

uint64_t forward_count(const Model& model) {
  return model.forward_calls;
}

uint64_t head_count(const Model& model) {
  return model.head_calls;
}

int32_t argmax(std::span<const float> logits) {
  return kernels::argmax(logits);
}

void log_softmax(std::span<const float> logits, std::span<float> out) {
  kernels::log_softmax(logits, out);
}

}  // namespace qsweep::model
