// Whole models on the GPU: logits against transformers, recorded decode steps against plain
// forward passes, perplexity against the CPU.
#include <gtest/gtest.h>

#include <algorithm>

#include "eval/certificate.hpp"
#include "eval/workload.hpp"
#include "gpu/on_gpu.hpp"
#include "kernels/packed_hash/packed_hash.hpp"
#include "unit/model/reference.hpp"

namespace qsweep {
namespace {

using device::Compute;
using test::relative_error;
using test::Runner;

quant::QuantConfig mlp_config(const quant::FormatSpec& spec) {
  quant::QuantConfig config;
  config.name = "mlp";
  config.scope = {quant::Scope::mlp};
  config.weights = spec;
  return config;
}

// All linears and their inputs.
quant::QuantConfig rounded_config(const quant::FormatSpec& spec, quant::ActivationId id) {
  quant::QuantConfig config = mlp_config(spec);
  config.scope = {quant::Scope::all_linear};
  config.activations.id = id;
  return config;
}

// Configs of the scale study: baseline, fp8 with its activations, nf4, int4 with exact and with
// coded scales; and int8 with its activations.
std::vector<quant::QuantConfig> studied_configs() {
  using quant::FormatId;
  using quant::ScaleCodecId;
  quant::QuantConfig base;
  base.name = "base";
  return {base,
          rounded_config({FormatId::fp8_e4m3, quant::per_channel}, quant::ActivationId::fp8_e4m3),
          rounded_config({FormatId::int8, quant::per_channel}, quant::ActivationId::int8),
          mlp_config({FormatId::nf4, 64, true, {ScaleCodecId::dq8}}),
          mlp_config({FormatId::int4, 128, true, {ScaleCodecId::fp32}}),
          mlp_config({FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}}),
          mlp_config({FormatId::int4, 128, true, {ScaleCodecId::e5m, 0}})};
}

std::filesystem::path miniature(const char* name) {
  return test::source_folder() / "data" / name;
}

// Frequencies lie with the weights, but are none.
uint64_t rope_bytes(const model::Model& model) {
  const model::ModelConfig& config = model::config_of(model);
  const int64_t sets = config.rope.kind == model::RopeKind::longrope ? 2 : 1;
  return static_cast<uint64_t>(sets * config.head_dim / 2 * 4);
}

class ReferenceGpu : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceGpu, Bf16IsAsGoodAsTransformersBf16) {
  QSWEEP_NEEDS_GPU();
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner exact(test::reference_folder(GetParam()));
  Runner gpu(test::reference_folder(GetParam()), test::gpu_context(Compute::bf16));
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    const auto expected = exact.logits(prompt.tokens);
    const double error = relative_error(gpu.logits(prompt.tokens), expected);
    std::printf("  %s, %d tokens: bf16 error %.4f, transformers' %.4f\n", GetParam(), length, error,
                prompt.bf16_error);
    EXPECT_LT(error, 1.3 * prompt.bf16_error) << length;
  }
}

// The same contract as the CPU's fp32.
TEST_P(ReferenceGpu, Fp32MatchesTransformers) {
  QSWEEP_NEEDS_GPU();
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner gpu(test::reference_folder(GetParam()), test::gpu_context(Compute::fp32));
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    const auto logits = gpu.logits(prompt.tokens);
    const auto vocab = static_cast<size_t>(gpu.vocab());
    for (size_t r = 0; r < prompt.rows.size(); ++r) {
      const auto row = static_cast<size_t>(prompt.rows[r]);
      EXPECT_LT(relative_error(std::span(logits).subspan(row * vocab, vocab),
                               std::span(prompt.logits).subspan(r * vocab, vocab)),
                1e-4)
          << length;
    }
    EXPECT_EQ(gpu.generate(prompt.tokens, prompt.greedy.size()), prompt.greedy) << length;
  }
}

// next_token() replays a recorded step; forward() runs the kernels one by one.
TEST_P(ReferenceGpu, RecordedStepsEqualPlainOnes) {
  QSWEEP_NEEDS_GPU();
  QSWEEP_NEEDS_REFERENCE(GetParam());
  device::KernelCalls plain_calls, recorded_calls;
  device::Context context = test::gpu_context(Compute::bf16);
  context.calls = &plain_calls;
  Runner plain(test::reference_folder(GetParam()), context);
  context.calls = &recorded_calls;
  Runner recorded(test::reference_folder(GetParam()), context);
  const auto prompt = test::load_prompts(GetParam()).begin()->second.tokens;
  constexpr size_t steps = 12;
  auto state = model::make_state(*recorded.model, static_cast<int64_t>(prompt.size() + steps));
  std::vector<int32_t> generated = {
      model::next_token(context, *recorded.model, {state.get(), prompt})};
  while (generated.size() < steps) {
    const int32_t last = generated.back();
    generated.push_back(model::next_token(context, *recorded.model, {state.get(), {&last, 1}}));
  }
  EXPECT_EQ(generated, plain.generate(prompt, steps));
  // Every linear was called once a pass, recorded or not.
  const auto theirs = model::linears(std::as_const(*plain.model));
  const auto ours = model::linears(std::as_const(*recorded.model));
  for (size_t i = 0; i < ours.size(); ++i) {
    uint64_t expected = 0, counted = 0;
    for (const auto& [kernel, calls] : theirs[i]->calls->calls()) expected += calls;
    for (const auto& [kernel, calls] : ours[i]->calls->calls()) counted += calls;
    EXPECT_EQ(counted, expected) << ours[i]->name;
  }
  EXPECT_EQ(recorded_calls.calls().at("embedding/gather"), steps);
  EXPECT_EQ(model::forward_count(*recorded.model), steps);
}

// A step may be started before its token is known here. Whoever then goes on otherwise must not get
// what it gave: another token, another prompt of the same length, no room for a further one.
TEST_P(ReferenceGpu, StepsAheadChangeNothing) {
  QSWEEP_NEEDS_GPU();
  QSWEEP_NEEDS_REFERENCE(GetParam());
  const device::Context context = test::gpu_context(Compute::bf16);
  Runner runner(test::reference_folder(GetParam()), context);
  const auto prompt = test::load_prompts(GetParam()).begin()->second.tokens;
  auto other = prompt;
  std::reverse(other.begin(), other.end());
  constexpr size_t steps = 8;
  const auto next = [&](model::State& state, std::span<const int32_t> tokens, bool more) {
    return model::next_token(context, *runner.model, {&state, tokens}, more);
  };
  // The choices after `start`, then `forced` and what follows from that.
  const auto choices = [&](model::State& state, const std::vector<int32_t>& start, int32_t forced,
                           bool more) {
    std::vector<int32_t> result = {next(state, start, more)};
    for (size_t i = 1; i < steps; ++i) {
      const int32_t token = i == steps / 2 ? forced : result.back();
      result.push_back(next(state, {&token, 1}, more));
    }
    return result;
  };
  const auto room = static_cast<int64_t>(prompt.size() + steps - 1);
  auto plain = model::make_state(*runner.model, room);
  auto ahead = model::make_state(*runner.model, room);
  for (const auto& start : {prompt, other, prompt}) {
    model::reset_state(*plain);
    model::reset_state(*ahead);
    EXPECT_EQ(choices(*ahead, start, 5, true), choices(*plain, start, 5, false));
  }
  // The same token in the same place after another beginning.
  model::reset_state(*ahead);
  const int32_t token = 7;
  next(*ahead, prompt, true);
  const int32_t second = next(*ahead, {&token, 1}, true);
  model::reset_state(*ahead);
  model::reset_state(*plain);
  other.push_back(3);
  next(*ahead, other, true);
  next(*plain, other, false);
  EXPECT_EQ(next(*ahead, {&second, 1}, false), next(*plain, {&second, 1}, false));
}

INSTANTIATE_TEST_SUITE_P(Families, ReferenceGpu, testing::Values("llama", "phi3", "qwen2", "qwen3"),
                         [](const auto& family) { return std::string(family.param); });

double perplexity(const device::Context& context, const quant::QuantConfig& config,
                  const std::vector<int32_t>& tokens) {
  Runner runner(miniature("mini-phi3"), context, config);
  eval::Cell cell;
  cell.kind = eval::WorkloadKind::perplexity;
  eval::PerplexityParams params;
  params.window = 256;
  params.stride = 128;
  cell.params = params;
  eval::TokenizedText text;
  text.tokens = tokens;
  text.words = text.bytes = 1;
  const auto tokenizer = model::Tokenizer::load(miniature("mini-phi3"));
  eval::RunInput input;
  input.cell = &cell;
  input.context = &context;
  input.model = input.baseline = runner.model.get();
  input.tokenizer = &tokenizer;
  input.text = &text;
  record::RunRecord record;
  const eval::Witness witness(*runner.model);
  eval::run_workload(input, record);
  EXPECT_EQ(std::get<std::vector<double>>(record.datasets.at("samples/window_kl").values)[0], 0.0);
  return record.metrics.at("perplexity.ppl");
}

// The miniatures in every config of the scale study: within 0.2 % of the CPU in the same activation
// type.
TEST(MiniatureGpu, PerplexityEqualsTheCpus) {
  QSWEEP_NEEDS_GPU();
  const auto probes =
      nlohmann::json::parse(read_file(miniature("mini-phi3") / "probe.json", 16u << 20));
  const auto tokens = probes.at("heldout_1000").at("input_ids").get<std::vector<int32_t>>();
  device::Context cpu;
  cpu.compute = Compute::bf16;
  cpu.threads = 4;
  for (const quant::QuantConfig& config : studied_configs()) {
    const double expected = perplexity(cpu, config, tokens);
    const double got = perplexity(test::gpu_context(Compute::bf16), config, tokens);
    const std::string format = (config.weights ? quant::to_string(*config.weights) : "base") + " " +
                               quant::to_string(config.activations);
    std::printf("  %s: %.5f, on the CPU %.5f\n", format.c_str(), got, expected);
    EXPECT_NEAR(got / expected, 1, 0.002) << format;
  }
}

TEST(MiniatureGpu, PackedBytesAreWhatWasHashed) {
  QSWEEP_NEEDS_GPU();
  const auto config = mlp_config({quant::FormatId::int4, 128, true, {quant::ScaleCodecId::e5m, 5}});
  const uint64_t before = device::memory_usage(device::Place::gpu).current[0];
  Runner runner(miniature("mini-phi3"), test::gpu_context(Compute::bf16), config);
  EXPECT_EQ(device::memory_usage(device::Place::gpu).current[0] - before,
            model::resident_weight_bytes(*runner.model) + rope_bytes(*runner.model));
  std::vector<const quant::PackedMatrix*> matrices;
  std::vector<std::string> expected;
  for (const model::Linear* linear : model::linears(std::as_const(*runner.model))) {
    if (!linear->quantized) continue;
    EXPECT_EQ(linear->weight->codes.place(), device::Place::gpu);
    matrices.push_back(linear->weight.get());
    expected.push_back(linear->hash_when_packed);
  }
  EXPECT_FALSE(matrices.empty());
  EXPECT_EQ(kernels::packed_hashes(test::gpu_context(), matrices), expected);
}

}  // namespace
}  // namespace qsweep
