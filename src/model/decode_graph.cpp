// One decode step of one sequence as a CUDA graph: embedding to greedy choice, five kernels for
// each block, launched at once. Token and position stand in GPU memory, so the same graph serves
// every step, and the next one can be started before the host has seen this one's choice.
#include "base/error.hpp"
#include "device/gpu.hpp"
#include "device/mailbox.hpp"
#include "kernels/logits/logits.hpp"
#include "model/structure.hpp"

namespace qsweep::model {

struct DecodeGraph {
  const Model* model = nullptr;
  bool long_regime = false;
  device::Buffer input;  // int32 token, position; a step leaves those of the next one
  int32_t token = -1;    // what `input` holds before the step that is ahead, if one is
  int64_t position = -1;
  bool ahead = false;                // the step for them was started
  device::WorkspaceLease workspace;  // what the graph's kernels hand each other
  device::Graph graph;
  // What one step counts: the context's ledger by kernel, and each linear's own.
  device::KernelCalls step_calls;
  std::vector<std::pair<device::KernelCalls*, std::string>> linear_calls;
  device::Mailbox choices;  // by position; last, as it waits for what is under way
};

namespace {

using device::MemoryClass;
using device::Place;
using Counts = std::map<std::string, uint64_t, std::less<>>;

device::Buffer gpu_ints(size_t count) {
  return {count * sizeof(int32_t), MemoryClass::workspace, Place::gpu};
}

// All kernels of a step, in order.
void run_step(const device::Context& context, const Model& model, State& state,
              DecodeGraph& decode) {
  auto* input = decode.input.as<int32_t>();
  Matrix logits(1, model.config.vocab, MemoryClass::workspace, Place::gpu);
  decode_transformer(context, model, {&state, decode.long_regime, input, input + 1}, logits);
  kernels::argmax_rows(context, logits.data(), 1, logits.cols, input,
                       {input + 1, decode.choices.data()});
}

std::vector<Counts> counts_of(const Model& model) {
  std::vector<Counts> counts;
  for (const Linear* linear : linears(model)) counts.push_back(linear->calls->calls());
  return counts;
}

// Notes what recording counted for each linear, as what every launch will count.
void note_linear_calls(const Model& model, const std::vector<Counts>& before, DecodeGraph& decode) {
  size_t i = 0;
  for (const Linear* linear : linears(model)) {
    for (const auto& [kernel, total] : linear->calls->calls()) {
      const auto found = before[i].find(kernel);
      const uint64_t earlier = found == before[i].end() ? 0 : found->second;
      for (uint64_t n = earlier; n < total; ++n) {
        decode.linear_calls.emplace_back(linear->calls.get(), kernel);
      }
    }
    ++i;
  }
}

std::shared_ptr<DecodeGraph> record(const device::Context& context, const Model& model,
                                    State& state, bool long_regime) {
  auto decode = std::make_shared<DecodeGraph>();
  decode->model = &model;
  decode->long_regime = long_regime;
  decode->input = gpu_ints(2);
  device::Context recording = context;
  recording.calls = &decode->step_calls;
  const auto before = counts_of(model);
  decode->workspace.open();
  decode->graph.capture(recording, [&] { run_step(recording, model, state, *decode); });
  decode->workspace.close();
  note_linear_calls(model, before, *decode);
  return decode;
}

bool long_at(const Model& model, int64_t position) {
  return model.config.rope.kind == RopeKind::longrope &&
         position + 1 > model.config.rope.original_max_positions;
}

void start(const device::Context& context, DecodeGraph& decode, int64_t position) {
  decode.graph.launch(context);
  decode.choices.mark(context, position);
}

// While the GPU works. Recording has counted the first step of the linears.
void count_step(const device::Context& context, const DecodeGraph& decode, bool recorded) {
  if (context.calls != nullptr) {
    for (const auto& [kernel, calls] : decode.step_calls.calls()) {
      context.calls->count(kernel, calls);
    }
  }
  if (!recorded) return;
  for (const auto& [ledger, kernel] : decode.linear_calls) ledger->count(kernel);
}

}  // namespace

void interrupt_decode(State& state) {
  if (state.decode == nullptr) return;
  state.decode->ahead = false;
  state.decode->position = -1;
}

std::optional<int32_t> replay_decode(const device::Context& context, Model& model, State& state,
                                     int32_t token, bool more) {
  const int64_t length = state.length();
  const bool long_regime = long_at(model, length);
  if (length > 0 && long_regime != state.long_regime) return std::nullopt;  // a new cache is due
  DecodeGraph* decode = state.decode.get();
  const bool recorded =
      decode != nullptr && decode->model == &model && decode->long_regime == long_regime;
  if (!recorded) {
    state.decode = record(context, model, state, long_regime);
    decode = state.decode.get();
  }
  const bool expected = decode->token == token && decode->position == length;
  const bool started = expected && decode->ahead;
  interrupt_decode(state);  // whatever fails below leaves nothing to go on with
  if (!expected) {
    // A step that is ahead was for another token: it has ended once these are copied.
    const int32_t input[] = {token, static_cast<int32_t>(length)};
    device::copy_bytes(decode->input.data(), Place::gpu, input, Place::host, sizeof input);
  }
  if (!started) start(context, *decode, length);
  const bool ahead =
      more && length + 1 < state.capacity() && long_at(model, length + 1) == long_regime;
  if (ahead) start(context, *decode, length + 1);
  count_step(context, *decode, recorded);
  const int32_t best = decode->choices.wait(length);
  decode->token = best;
  decode->position = length + 1;
  decode->ahead = ahead;
  state.tokens.push_back(token);
  state.long_regime = long_regime;
  ++model.forward_calls;
  ++model.head_calls;
  return best;
}

}  // namespace qsweep::model
