// A model ready to run under one quantization config, its state (KV cache or SSM state), and
// forward(). Family-neutral: families differ in files, not in this interface.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/buffer.hpp"
#include "device/context.hpp"
#include "model/checkpoint.hpp"
#include "model/config.hpp"
#include "quant/config.hpp"
#include "quant/error_table.hpp"
#include "quant/format/format.hpp"

namespace qsweep::model {

// A row-major fp32 matrix that owns its memory, on the host or on the GPU.
struct Matrix {
  int64_t rows = 0, cols = 0;
  device::Buffer buffer;
  Matrix() = default;
  Matrix(int64_t row_count, int64_t col_count,
         device::MemoryClass memory_class = device::MemoryClass::workspace,
         device::Place place = device::Place::host);
  float* data() { return buffer.as<float>(); }
  const float* data() const { return buffer.as<float>(); }
  float* row(int64_t r) { return data() + r * cols; }
  const float* row(int64_t r) const { return data() + r * cols; }
};

// One linear layer y = x W^T + b. Weights are shared between configs that hold them alike.
struct Linear {
  std::string name;  // as the checkpoint names it, without ".weight"
  quant::LinearRole role;
  int64_t layer = -1;      // -1: outside the blocks (lm_head)
  bool quantized = false;  // in scope of the config and quantized from the checkpoint's weights
  std::shared_ptr<const quant::PackedMatrix> weight;  // [out, in]
  std::shared_ptr<const Matrix> bias;                 // [1, out] or null
  std::string hash_when_packed;  // packed_hash right after quantization; empty if not quantized
  quant::ActivationRounding activations;  // of the input; none: it is taken as it is
  // Kernel calls of this linear by kernel name (the certificate's per-tensor witness).
  std::shared_ptr<device::KernelCalls> calls;
};

// Called with each linear's input x [rows, in] during forward(), before it is rounded and
// multiplied.
using LinearObserver = std::function<void(const Linear&, const float* x, int64_t rows)>;

struct Model;  // weights and structure, defined per family in the .cpp files
class State;   // what a sequence leaves behind: KV cache, or conv and SSM state

struct LoadReport {
  double quantize_seconds = 0;
  std::vector<quant::TensorError> errors;  // one row a quantized linear
  // Matrices that were read from the checkpoint to the GPU, and how long that took; 0 on the CPU.
  uint64_t read_bytes = 0;
  double read_seconds = 0;
  // The matrices that the model holds as the checkpoint has them and shares with no base, in the
  // order of building: the same on every rank. They lie where the model lies.
  std::vector<std::span<std::byte>> raw;
};

// Who fills the matrices of LoadReport::raw: the checkpoint's bytes are read here, or the caller
// copies them from another rank's GPU before the model is used.
enum class RawWeights { read, received };

// Largest magnitude of each linear's input, by the linear's name (activation_ranges.hpp).
using ActivationRanges = std::map<std::string, float>;

// Builds the model of one config. Tensors outside the scope are shared with `base` where it is
// given (a model of the same checkpoint). A folder written by `qsweep quantize` is loaded packed
// (checkpoint has quantization.json), with its own `ranges`; else a config with static activation
// scales needs those of every linear that it quantizes.
std::shared_ptr<Model> build_model(std::shared_ptr<const Checkpoint> checkpoint,
                                   const quant::QuantConfig& config, const device::Context& context,
                                   const Model* base = nullptr, LoadReport* report = nullptr,
                                   RawWeights raw = RawWeights::read,
                                   const ActivationRanges& ranges = {});

const ModelConfig& config_of(const Model& model);
device::Compute compute_of(const Model& model);
// The config whose weights the model holds: the one it was built with, or that of its packed
// folder.
const quant::QuantConfig& quantization_of(const Model& model);
// Every linear, in forward order; stable pointers. Non-const for tests of the certificate.
std::vector<const Linear*> linears(const Model& model);
std::vector<Linear*> linears(Model& model);
uint64_t forward_count(const Model& model);  // forward() calls so far
uint64_t head_count(const Model& model);     // logits() calls so far
uint64_t resident_weight_bytes(
    const Model& model);  // all weights of this config, shared ones included

// `max_tokens`: capacity of the cache in positions.
std::unique_ptr<State, void (*)(State*)> make_state(const Model& model, int64_t max_tokens);
int64_t state_length(const State& state);  // tokens seen
uint64_t state_bytes(const State& state);
void reset_state(State& state);

// A piece of one sequence: its state and the tokens that follow what the state has seen.
struct Chunk {
  State* state;
  std::span<const int32_t> tokens;
};

// Runs the chunks together and returns the hidden states after the final norm, [sum of tokens,
// hidden], chunk by chunk, in the context's place. Token ids must lie in [0, vocab) and each state
// must have room, else Error{invalid_input}.
Matrix forward(const device::Context& context, Model& model, std::span<const Chunk> chunks,
               const LinearObserver* observer = nullptr);
// logits [rows, vocab] of hidden [rows, hidden]; both in the context's place.
Matrix logits(const device::Context& context, Model& model, const float* hidden, int64_t rows,
              const LinearObserver* observer = nullptr);
// The matrix itself where it lies on the host, else a copy there.
Matrix on_host(Matrix matrix);

// Runs one chunk and returns the greedy choice after its last token. On the GPU a chunk of one
// token replays a recorded graph: the same kernels, counted alike. `more`: the caller means to go
// on with that choice, so that its step may be started before the host has seen it; whoever then
// does something else only loses the time of that step.
int32_t next_token(const device::Context& context, Model& model, const Chunk& chunk,
                   bool more = false);

// Greedy choice: index of the largest value, the first of equals.
int32_t argmax(std::span<const float> logits);
// out[v] = logits[v] - log(sum exp(logits)); double accumulation.
void log_softmax(std::span<const float> logits, std::span<float> out);

// Bytes that one decoded token must read at context length `context_length` (weights once, KV once)
// and its floating-point operations; and the same of a prefill of n tokens.
struct Work {
  double bytes = 0, flops = 0;
};
Work decode_work(const Model& model, int64_t context_length);
Work prefill_work(const Model& model, int64_t tokens);

}  // namespace qsweep::model
