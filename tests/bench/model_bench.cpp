// Whole steps of data/mini-phi3: what share of a decoded token's time its linears and its attention
// take (the rest is what a tiny model shows best), and a prompt against SGEMM of as many FLOPs.
#include <filesystem>
#include <memory>

#include "base/clock.hpp"
#include "bench/bench.hpp"
#include "model/model.hpp"

namespace qsweep::bench {
namespace {

constexpr const char* miniature = QSWEEP_SOURCE_DIR "/data/mini-phi3";

// The model under one config, with a ledger as the sweep keeps it.
struct Engine {
  device::KernelCalls calls;
  device::OpProfile profile;
  device::Context context;
  std::shared_ptr<model::Model> model;

  Engine(const quant::QuantConfig& config, device::Compute compute, int threads)
      : context{.compute = compute, .threads = threads, .calls = &calls} {
    model = model::build_model(model::Checkpoint::open(miniature), config, context);
  }
  int32_t next(model::State& state, std::span<const int32_t> tokens) {
    const model::Chunk chunk{&state, tokens};
    const model::Matrix hidden = model::forward(context, *model, {&chunk, 1});
    const model::Matrix row = model::logits(context, *model, hidden.row(hidden.rows - 1), 1);
    return model::argmax({row.data(), static_cast<size_t>(row.cols)});
  }
};

std::vector<int32_t> prompt_of(int64_t length) {
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(1 + 37 * i % 2900);
  return tokens;
}

quant::QuantConfig unquantized() {
  quant::QuantConfig config;
  config.name = "base";
  return config;
}

quant::QuantConfig int4_linears() {
  quant::QuantConfig config;
  config.name = "int4";
  config.scope = {quant::Scope::all_linear};
  config.weights = quant::FormatSpec{quant::FormatId::int4, 128, true, {quant::ScaleCodecId::fp16}};
  return config;
}

// Seconds a token, and the share of them inside linear() and attention(). The timers themselves,
// some 40 ns an op, count as the rest.
Round decode_share(Engine& engine, int64_t prompt, int64_t output) {
  const auto state = model::make_state(*engine.model, prompt + output);
  int32_t token = engine.next(*state, prompt_of(prompt));
  engine.profile = {};
  engine.context.profile = &engine.profile;
  const Stopwatch watch;
  for (int64_t i = 0; i < output; ++i) token = engine.next(*state, {&token, 1});
  const double seconds = watch.seconds();
  engine.context.profile = nullptr;
  const double inside = engine.profile.seconds("linear") + engine.profile.seconds("attention");
  const auto steps = static_cast<double>(output);
  return {seconds / steps, inside / steps, inside / seconds};
}

void add_decode(const quant::QuantConfig& config, device::Compute compute, int threads) {
  const std::string name = config.name + "/" + std::string(name_of(compute));
  add(Measurement{.name = "decode/mini-phi3/" + name + "/threads:" + std::to_string(threads),
                  .against = "time in linear, attention",
                  .target = 0.8,
                  .rounds = 31,
                  .prepare = [=]() -> std::function<Round()> {
                    const auto engine = std::make_shared<Engine>(config, compute, threads);
                    const int64_t prompt = sized(128, 4), output = sized(64, 2);
                    decode_share(*engine, prompt, output);
                    return [=] { return decode_share(*engine, prompt, output); };
                  }});
}

void add_prompt(const quant::QuantConfig& config, int threads) {
  add({.name = "prefill/mini-phi3/" + config.name + "/fp32/threads:" + std::to_string(threads),
       .against = "sgemm",
       .rounds = 21,
       .settle = threads > 1,
       .prepare = [config, threads]() -> Comparison {
         const auto engine = std::make_shared<Engine>(config, device::Compute::fp32, threads);
         const int64_t length = sized(1000, 16), n = sized(1024, 16);
         const auto a = std::make_shared<std::vector<float>>(random_values(n * n, 7));
         const auto c = std::make_shared<std::vector<float>>(a->size());
         const double flops = model::prefill_work(*engine->model, length).flops;
         return {[engine, length] {
                   const auto state = model::make_state(*engine->model, length);
                   engine->next(*state, prompt_of(length));
                 },
                 [a, c, n, threads] {
                   blas_product(threads, n, n, n, a->data(), a->data(), c->data());
                 },
                 flops / (2.0 * static_cast<double>(n * n * n))};
       }});
}

}  // namespace

void add_model_benchmarks() {
  for (const int threads : thread_counts()) {
    for (const auto& config : {unquantized(), int4_linears()}) {
      for (const auto compute : {device::Compute::fp32, device::Compute::bf16}) {
        add_decode(config, compute, threads);
      }
      add_prompt(config, threads);
    }
  }
}

}  // namespace qsweep::bench
