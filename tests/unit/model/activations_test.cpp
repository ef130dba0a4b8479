// Models whose linears round what they multiply, on the trained miniatures: against a forward pass
// written from the definition, in the ledgers, and through packed folders.
#include <gtest/gtest.h>
#include <unistd.h>

#include "model/activation_ranges.hpp"
#include "model/quantized_io.hpp"
#include "unit/model/rounded_inputs.hpp"

namespace qsweep {
namespace {
namespace fs = std::filesystem;

using quant::ActivationFormat;
using quant::ActivationId;
using quant::ActivationScale;
using quant::FormatId;
using quant::QuantConfig;
using quant::Scope;
using test::relative_error;

QuantConfig config_of(const std::string& name, std::vector<Scope> scope, quant::FormatSpec weights,
                      ActivationFormat activations) {
  QuantConfig config;
  config.name = name;
  config.scope = std::move(scope);
  config.weights = weights;
  config.activations = activations;
  return config;
}

std::vector<QuantConfig> configs() {
  constexpr auto token = ActivationScale::token;
  return {
      config_of("C1", {Scope::all_linear}, {FormatId::fp8_e4m3}, {ActivationId::fp8_e4m3, token}),
      config_of("W8A8", {Scope::all_linear, Scope::lm_head}, {FormatId::int8},
                {ActivationId::int8, token}),
      config_of("W4A8", {Scope::mlp}, {FormatId::int4, 128}, {ActivationId::int8, token}),
      config_of("W4A4", {Scope::attention}, {FormatId::int4, 128}, {ActivationId::int4, token}),
      config_of("W8A16", {Scope::all_linear}, {FormatId::int8}, {ActivationId::bf16, token}),
      config_of("W8A8s", {Scope::all_linear, Scope::lm_head}, {FormatId::int8},
                {ActivationId::int8, ActivationScale::tensor}),
      config_of("C1s", {Scope::mlp}, {FormatId::fp8_e4m3},
                {ActivationId::fp8_e4m3, ActivationScale::tensor}),
  };
}

QuantConfig weights_only(QuantConfig config) {
  config.activations = {};
  return config;
}

// Other tokens than the prompt's, so that some of its inputs saturate.
const std::vector<std::vector<int32_t>> calibration = {{8, 100, 7, 7, 350}, {2, 61, 1000}};

const std::vector<int32_t> prompt = {5, 17, 900, 3, 3, 250, 77, 1, 42};

class RoundedInputs : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    checkpoint_ = model::Checkpoint::open(fs::path(QSWEEP_SOURCE_DIR) / "data" / GetParam());
    ranges_ = measure({});
  }
  model::ActivationRanges measure(const device::Context& context) {
    const auto plain = model::build_model(checkpoint_, {}, context);
    const std::vector<std::span<const int32_t>> sequences(calibration.begin(), calibration.end());
    return model::measure_activation_ranges(context, *plain, sequences);
  }
  std::shared_ptr<model::Model> build(const QuantConfig& config,
                                      const device::Context& context = {}) {
    return model::build_model(checkpoint_, config, context, nullptr, nullptr,
                              model::RawWeights::read, ranges_);
  }
  std::shared_ptr<const model::Checkpoint> checkpoint_;
  model::ActivationRanges ranges_;
};

uint64_t activation_calls(const model::Linear& linear) {
  uint64_t calls = 0;
  for (const auto& [kernel, count] : linear.calls->calls()) {
    if (kernel.starts_with("activations/")) calls += count;
  }
  return calls;
}

TEST_P(RoundedInputs, GiveWhatTheDefinitionGives) {
  for (const QuantConfig& config : configs()) {
    const auto model = build(config);
    const test::Observed observed = test::observe({}, *model, prompt);
    double worst = 0;
    // Sums in fp32 through a block or two; one level of int8 would be a few 1e-3.
    test::compare_pass(
        *model, prompt, observed,
        [&](const std::string& what, const std::vector<float>& got, const test::Doubles& expected) {
          const double error = test::distance(got, expected);
          worst = std::max(worst, error);
          EXPECT_LT(error, 1e-5) << config.name << " " << what;
        });
    std::printf("  %s %s: worst %.1e, allowed 1e-5\n", GetParam(), config.name.c_str(), worst);
    const auto plain = build(weights_only(config));
    const std::vector<float> without = test::observe({}, *plain, prompt).logits;
    EXPECT_GT(relative_error(observed.logits, without), 1e-4) << config.name;
  }
}

// The pass above is no witness if it does not see what is missing.
TEST_P(RoundedInputs, MissingOnesAreSeen) {
  const auto model = build(configs()[0]);
  model->blocks[1].down.activations = {};
  const test::Observed observed = test::observe({}, *model, prompt);
  model->blocks[1].down.activations = model->blocks[0].down.activations;
  double worst = 0;
  test::compare_pass(
      *model, prompt, observed,
      [&](const std::string&, const std::vector<float>& got, const test::Doubles& expected) {
        worst = std::max(worst, test::distance(got, expected));
      });
  EXPECT_GT(worst, 1e-4);
}

TEST_P(RoundedInputs, AreCountedForEachLinearInScope) {
  for (const QuantConfig& config : configs()) {
    const auto model = build(config);
    device::KernelCalls calls;
    test::observe({.calls = &calls}, *model, prompt);
    uint64_t all = 0;
    for (const model::Linear* linear : model::linears(std::as_const(*model))) {
      const bool promised = quant::in_scope(config.scope, linear->role);
      EXPECT_EQ(activation_calls(*linear), promised ? 1u : 0u) << config.name << linear->name;
      all += promised ? 1 : 0;
    }
    const std::string kernel = "activations/round/" + quant::to_string(config.activations);
    EXPECT_EQ(calls.calls().at(kernel), all) << config.name;
  }
}

// bf16 is what ops hand each other there already; other formats round that.
TEST_P(RoundedInputs, InBf16ComputeOnlyOtherFormatsChangeAnything) {
  const device::Context context{.compute = device::Compute::bf16};
  for (const QuantConfig& config : configs()) {
    const auto model = build(config, context);
    const auto plain = build(weights_only(config), context);
    const std::vector<float> with = test::observe(context, *model, prompt).logits;
    const std::vector<float> without = test::observe(context, *plain, prompt).logits;
    const bool bf16 = config.activations.id == ActivationId::bf16;
    EXPECT_EQ(with == without, bf16) << config.name;
    EXPECT_EQ(activation_calls(model->blocks[0].down) == 0,
              bf16 || !quant::in_scope(config.scope, quant::LinearRole::down))
        << config.name;
  }
}

// Weights that an override leaves without scales are multiplied with their inputs as they are.
TEST_P(RoundedInputs, FollowTheWeightsOfTheirLayer) {
  QuantConfig config = configs()[1];
  config.layers = {{"0", {0, 0, false}, quant::FormatSpec{FormatId::bf16}, {}}};
  const auto model = build(config);
  test::observe({}, *model, prompt);
  EXPECT_EQ(activation_calls(model->blocks[0].down), 0u);
  EXPECT_EQ(activation_calls(model->blocks[1].down), 1u);
}

// ---- packed folders

class PackedInputs : public RoundedInputs {
 protected:
  void SetUp() override {
    RoundedInputs::SetUp();
    folder_ = fs::path(testing::TempDir()) / ("qsweep_activations_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::shared_ptr<model::Model> write(const QuantConfig& config) {
    model::LoadReport report;
    const auto built = model::build_model(checkpoint_, config, {}, nullptr, &report,
                                          model::RawWeights::read, ranges_);
    model::write_quantized(*built, *checkpoint_, config, folder_, false, report);
    return built;
  }
  fs::path folder_;
};

TEST_P(PackedInputs, KeepTheirBits) {
  for (const QuantConfig& config : configs()) {
    const auto built = write(config);
    const auto loaded = model::build_model(model::Checkpoint::open(folder_), {}, {});
    EXPECT_EQ(test::observe({}, *loaded, prompt).logits, test::observe({}, *built, prompt).logits)
        << config.name;
    const auto before = model::linears(std::as_const(*built)),
               after = model::linears(std::as_const(*loaded));
    for (size_t i = 0; i < before.size(); ++i)
      EXPECT_EQ(before[i]->activations, after[i]->activations) << before[i]->name;
  }
}

TEST_P(PackedInputs, RefuseOtherActivations) {
  const QuantConfig config = configs()[0];
  write(config);
  const auto packed = model::Checkpoint::open(folder_);
  QuantConfig other = config;
  other.activations.id = ActivationId::int8;
  EXPECT_THROW(model::build_model(packed, other, {}), Error);
  other = {};
  other.activations.id = ActivationId::bf16;
  EXPECT_THROW(model::build_model(packed, other, {}), Error);
}

TEST_P(PackedInputs, RefuseDamagedRanges) {
  write(configs()[5]);
  const fs::path file = folder_ / "quantization.json";
  const std::string about = read_file(file, 1 << 28);
  const size_t begin = about.find("\"activation_absmax\": ") + 21;
  const size_t end = about.find_first_of(",\n", begin);
  for (const char* damage : {"0", "-1", "1e39", "1e-9", "null", "\"1\"", "[1]"}) {
    write_file_atomic(file, about.substr(0, begin) + damage + about.substr(end));
    EXPECT_THROW(model::build_model(model::Checkpoint::open(folder_), {}, {}), Error) << damage;
  }
  std::string renamed = about;
  write_file_atomic(file, renamed.replace(begin - 4, 1, "y"));
  EXPECT_THROW(model::build_model(model::Checkpoint::open(folder_), {}, {}), Error);
  write_file_atomic(file, about);
  EXPECT_NO_THROW(model::build_model(model::Checkpoint::open(folder_), {}, {}));
}

// ---- calibration

TEST_P(RoundedInputs, RangesAreTheLargestThatTheLinearsSee) {
  const auto plain = model::build_model(checkpoint_, {}, {});
  std::map<std::string, float> expected;
  for (const auto& tokens : calibration) {
    for (const auto& [linear, x] : test::observe({}, *plain, tokens).inputs) {
      for (const float value : x) expected[linear] = std::max(expected[linear], std::fabs(value));
    }
  }
  EXPECT_EQ(ranges_, expected);
  EXPECT_EQ(ranges_.size(), model::linears(std::as_const(*plain)).size());
  EXPECT_EQ(ranges_, measure({.threads = 3}));
}

TEST_P(RoundedInputs, StaticScalesAreRefusedWithoutRanges) {
  EXPECT_THROW(model::build_model(checkpoint_, configs()[5], {}), Error);
  ranges_.erase("lm_head");
  EXPECT_THROW(build(configs()[5]), Error);
  EXPECT_NO_THROW(build(configs()[6])) << "the head is not in its scope";
}

std::string name_of_miniature(const testing::TestParamInfo<const char*>& mini) {
  return std::string(mini.param).replace(4, 1, "_");
}
INSTANTIATE_TEST_SUITE_P(Shipped, RoundedInputs, testing::Values("mini-phi3", "mini-llama"),
                         name_of_miniature);
INSTANTIATE_TEST_SUITE_P(Shipped, PackedInputs, testing::Values("mini-phi3", "mini-llama"),
                         name_of_miniature);

}  // namespace
}  // namespace qsweep
