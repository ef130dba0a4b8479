#include "base/error.hpp"
#include "model/structure.hpp"

namespace qsweep::model {
namespace {

int64_t checked_capacity(const Model& model, int64_t max_tokens) {
  if (max_tokens < 1 || max_tokens > model.config.max_positions) {
    throw_invalid("cannot hold " + std::to_string(max_tokens) + " tokens",
                  "the model has " + std::to_string(model.config.max_positions) + " positions",
                  "choose shorter lengths");
  }
  return max_tokens;
}

}  // namespace

State::State(const Model& model, int64_t max_tokens)
    : type_(model.compute == device::Compute::bf16 ? kernels::CacheType::bf16
                                                   : kernels::CacheType::fp32),
      kv_heads_(model.config.kv_heads),
      head_dim_(model.config.head_dim),
      capacity_(checked_capacity(model, max_tokens)) {
  const int64_t elements = model.config.kv_elements_per_token() * capacity_;
  cache_ = device::Buffer(static_cast<size_t>(elements * kernels::cache_element_bytes(type_)),
                          device::MemoryClass::state, model.place);
}

State::~State() {
  decode.reset();
}

kernels::CacheView State::view(int64_t layer, int64_t which) const {
  const int64_t bytes = kv_heads_ * capacity_ * head_dim_ * kernels::cache_element_bytes(type_);
  return {cache_.data() + (2 * layer + which) * bytes, type_, kv_heads_, capacity_, head_dim_};
}

std::unique_ptr<State, void (*)(State*)> make_state(const Model& model, int64_t max_tokens) {
  return {new State(model, max_tokens), [](State* state) { delete state; }};
}

int64_t state_length(const State& state) {
  return state.length();
}

uint64_t state_bytes(const State& state) {
  return state.bytes();
}

void reset_state(State& state) {
  interrupt_decode(state);
  state.tokens.clear();
  state.long_regime = false;
}

}  // namespace qsweep::model
