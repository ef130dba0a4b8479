// Quantized models: what is shared, what is counted, and the folders that `qsweep quantize` writes.
#include "model/quantized_io.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <set>

#include "model/structure.hpp"
#include "quant/format/packed_hash.hpp"
#include "unit/model/reference.hpp"

namespace qsweep {
namespace {
namespace fs = std::filesystem;

using quant::FormatId;
using quant::QuantConfig;
using quant::Scope;
using test::relative_error;
using test::Runner;

QuantConfig config_of(const std::string& name, std::vector<Scope> scope, quant::FormatSpec spec) {
  QuantConfig config;
  config.name = name;
  config.scope = std::move(scope);
  config.weights = spec;
  return config;
}

std::vector<QuantConfig> configs() {
  return {
      config_of("int4_e5m5", {Scope::mlp},
                {FormatId::int4, 128, true, {quant::ScaleCodecId::e5m, 5}}),
      config_of("int4_asym", {Scope::attention},
                {FormatId::int4, 64, false, {quant::ScaleCodecId::fp16}}),
      config_of("nf4", {Scope::all_linear}, {FormatId::nf4, 64, true, {quant::ScaleCodecId::dq8}}),
      config_of("int8", {Scope::all_linear, Scope::lm_head}, {FormatId::int8}),
      config_of("fp8", {Scope::all_linear}, {FormatId::fp8_e4m3}),
  };
}

const std::vector<int32_t> prompt = {5, 17, 900, 3, 3, 250, 77, 1, 42};

class QuantizedTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("qsweep_quantized_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // Builds, keeps the report, writes.
  std::shared_ptr<model::Model> write(const QuantConfig& config, bool dequantized) {
    const auto checkpoint = model::Checkpoint::open(test::reference_folder(GetParam()));
    report_ = {};
    auto built = model::build_model(checkpoint, config, {}, nullptr, &report_);
    model::write_quantized(*built, *checkpoint, config, folder_, dequantized, report_);
    return built;
  }
  std::vector<float> logits(const std::shared_ptr<model::Model>& built, size_t piece = SIZE_MAX) {
    Runner runner(test::reference_folder(GetParam()));
    runner.model = built;
    return runner.logits(prompt, piece);
  }
  std::shared_ptr<model::Model> load(const QuantConfig& config = {},
                                     model::LoadReport* report = nullptr) {
    return model::build_model(model::Checkpoint::open(folder_), config, {}, nullptr, report);
  }
  std::string load_refusal(const QuantConfig& config = {}) {
    try {
      load(config);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input) << error.what();
      return error.what();
    }
    return "accepted";
  }

  fs::path folder_;
  model::LoadReport report_;
};

TEST_P(QuantizedTest, PackedFolderGivesTheSameBits) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  const auto baseline = Runner(test::reference_folder(GetParam())).logits(prompt);
  for (const QuantConfig& config : configs()) {
    const auto built = write(config, false);
    model::LoadReport loaded_report;
    const auto loaded = load({}, &loaded_report);
    EXPECT_EQ(logits(loaded), logits(built)) << config.name;
    EXPECT_EQ(logits(loaded, 1), logits(built, 1)) << config.name;
    EXPECT_NE(logits(loaded), baseline) << config.name << ": the quantized path did not run";
    const auto before = model::linears(std::as_const(*built)),
               after = model::linears(std::as_const(*loaded));
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_EQ(before[i]->quantized, after[i]->quantized) << before[i]->name;
      EXPECT_EQ(before[i]->hash_when_packed, after[i]->hash_when_packed) << before[i]->name;
      EXPECT_EQ(before[i]->weight->spec, after[i]->weight->spec) << before[i]->name;
    }
    ASSERT_EQ(loaded_report.errors.size(), report_.errors.size());
    EXPECT_EQ(loaded_report.errors[0].relative_mse, report_.errors[0].relative_mse);
    EXPECT_EQ(model::resident_weight_bytes(*loaded), model::resident_weight_bytes(*built));
    EXPECT_TRUE(fs::exists(folder_ / "tokenizer.json"));
    const auto file = model::read_quantization(folder_);
    EXPECT_LT(file->bytes_after, file->bytes_before) << config.name;
    EXPECT_NE(load(config), nullptr);  // the same config is no contradiction
  }
}

TEST_P(QuantizedTest, DequantizedFolderIsAnOrdinaryCheckpoint) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  for (const QuantConfig& config : configs()) {
    const auto built = write(config, true);
    const auto checkpoint = model::Checkpoint::open(folder_);
    for (const auto& [name, view] : checkpoint->tensors()) EXPECT_EQ(view.dtype, "F32") << name;
    const auto loaded = load();
    for (const model::Linear* linear : model::linears(std::as_const(*loaded)))
      EXPECT_FALSE(linear->quantized);
    // The same values, multiplied by other loops when decoding: fp32 rounding through two or three
    // layers.
    EXPECT_LT(relative_error(logits(loaded), logits(built)), 1e-5) << config.name;
    EXPECT_LT(relative_error(logits(loaded, 1), logits(built, 1)), 1e-5) << config.name;
  }
}

// It holds no packed bytes, so what version 1 says of it is true still.
TEST_P(QuantizedTest, DequantizedFoldersOfVersionOneAreRead) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  write(configs()[0], true);
  const fs::path file = folder_ / "quantization.json";
  const std::string version = "\"qsweep_quantization\": ";
  std::string text = read_file(file, 1 << 28);
  const size_t at = text.find(version + "2");
  ASSERT_NE(at, std::string::npos);
  write_file_atomic(file, text.replace(at, version.size() + 1, version + "1"));
  EXPECT_TRUE(model::read_quantization(folder_)->dequantized);
  EXPECT_EQ(load_refusal(), "accepted");
}

TEST_P(QuantizedTest, LedgersNameTheFormatOfEveryCall) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  device::KernelCalls calls;
  const device::Context context{.calls = &calls};
  for (const QuantConfig& config : configs()) {
    calls.clear();
    Runner runner(test::reference_folder(GetParam()), context, config);
    runner.logits(prompt);
    uint64_t quantized = 0;
    for (const model::Linear* linear : model::linears(std::as_const(*runner.model))) {
      ASSERT_EQ(linear->calls->calls().size(), 1u) << linear->name;
      const auto& [kernel, count] = *linear->calls->calls().begin();
      EXPECT_EQ(count, 1u);
      std::string format = quant::to_string(linear->weight->spec);
      std::replace(format.begin(), format.end(), ' ', '_');
      EXPECT_EQ(kernel, "linear/gemm_tile/" + format);
      quantized += linear->quantized;
      EXPECT_EQ(linear->quantized, quant::in_scope(config.scope, linear->role)) << linear->name;
      EXPECT_EQ(linear->quantized ? quant::packed_hash(*linear->weight) : "",
                linear->hash_when_packed);
    }
    EXPECT_GT(quantized, 0u) << config.name;
    EXPECT_EQ(model::forward_count(*runner.model), 1u);
    EXPECT_EQ(model::head_count(*runner.model), 1u);
  }
}

TEST_P(QuantizedTest, SharesWithTheBaseWhatItDoesNotQuantize) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  const auto checkpoint = model::Checkpoint::open(test::reference_folder(GetParam()));
  const auto base = model::build_model(checkpoint, {}, {});
  const QuantConfig config = configs().front();  // mlp only
  const uint64_t before = device::memory_usage().current[0];
  const auto shared = model::build_model(checkpoint, config, {}, base.get());
  const uint64_t added = device::memory_usage().current[0] - before;
  const auto alone = model::build_model(checkpoint, config, {});
  EXPECT_EQ(logits(shared), logits(alone));
  std::set<const void*> of_base;
  for (const model::Linear* linear : model::linears(std::as_const(*base)))
    of_base.insert(linear->weight.get());
  uint64_t quantized_bytes = 0;
  for (const model::Linear* linear : model::linears(std::as_const(*shared))) {
    EXPECT_EQ(of_base.contains(linear->weight.get()), !linear->quantized) << linear->name;
    if (linear->quantized) quantized_bytes += linear->weight->bytes();
  }
  // Norms and biases are kept apart: a few kB.
  EXPECT_GE(added, quantized_bytes);
  EXPECT_LT(added, quantized_bytes + 32 * 1024);
  EXPECT_EQ(model::resident_weight_bytes(*shared), model::resident_weight_bytes(*alone));
}

TEST_P(QuantizedTest, ObserverSeesEveryLinearsInput) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  std::vector<std::string> seen;
  const model::LinearObserver observer = [&](const model::Linear& linear, const float* x,
                                             int64_t rows) {
    seen.push_back(linear.name);
    EXPECT_EQ(rows, static_cast<int64_t>(prompt.size()));
    for (int64_t i = 0; i < rows * linear.weight->cols; ++i)
      ASSERT_TRUE(std::isfinite(x[i])) << linear.name;
  };
  auto state = model::make_state(*runner.model, 16);
  const model::Chunk chunk{state.get(), prompt};
  const model::Matrix hidden = model::forward({}, *runner.model, {&chunk, 1}, &observer);
  model::logits({}, *runner.model, hidden.data(), hidden.rows, &observer);
  std::vector<std::string> expected;
  for (const model::Linear* linear : model::linears(std::as_const(*runner.model)))
    expected.push_back(linear->name);
  EXPECT_EQ(seen, expected);
}

TEST_P(QuantizedTest, RefusesAnotherConfigAndASecondQuantization) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  write(configs()[0], false);
  EXPECT_NE(load_refusal(configs()[2]).find("quantized under another config"), std::string::npos);
  const auto packed = model::Checkpoint::open(folder_);
  const auto loaded = load();
  EXPECT_THROW(model::write_quantized(*loaded, *packed, configs()[0], folder_ / "again", false, {}),
               Error);
  EXPECT_THROW(model::write_quantized(*loaded, *packed, configs()[0], folder_, false, {}), Error);
}

TEST_P(QuantizedTest, RefusesDamagedFolders) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  write(configs()[0], false);
  const std::string weights = read_file(folder_ / "model.safetensors", 1 << 28);
  const std::string about = read_file(folder_ / "quantization.json", 1 << 28);
  const auto with_about = [&](const std::string& from, const std::string& to) {
    std::string text = about;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    write_file_atomic(folder_ / "quantization.json", text.replace(at, from.size(), to));
    return load_refusal();
  };
  EXPECT_NE(with_about("\"rows\": ", "\"rows\": 1").find("wrong shape"), std::string::npos);
  EXPECT_NE(with_about("\"layer\": 0", "\"layer\": \"x\"").find("wrong type"), std::string::npos);
  EXPECT_NE(with_about("\"sha256\": \"", "\"sha256\": \"zz").find("not a SHA-256"),
            std::string::npos);
  EXPECT_NE(with_about("mlp.down_proj\"", "mlp.other\"").find("missing"), std::string::npos);
  EXPECT_NE(with_about("\"cosine\": ", "\"cosine\": 9").find("out of range"), std::string::npos);
  EXPECT_NE(with_about("{", "[").find("not valid JSON"), std::string::npos);
  EXPECT_NE(with_about("\"qsweep_quantization\": 2", "\"qsweep_quantization\": 3")
                .find("qsweep_quantization"),
            std::string::npos);
  EXPECT_NE(with_about("\"qsweep_quantization\": 2", "\"qsweep_quantization\": 1")
                .find("write the folder again with qsweep quantize"),
            std::string::npos);
  write_file_atomic(folder_ / "quantization.json", about);
  EXPECT_EQ(load_refusal(), "accepted");

  // One flipped bit in the packed codes, which lie at the file's end (one-byte elements come last).
  std::string flipped = weights;
  flipped[flipped.size() - 5] = static_cast<char>(flipped[flipped.size() - 5] ^ 1);
  write_file_atomic(folder_ / "model.safetensors", flipped);
  EXPECT_NE(load_refusal().find("packed bytes have changed"), std::string::npos) << load_refusal();
}

INSTANTIATE_TEST_SUITE_P(Families, QuantizedTest,
                         testing::Values("llama", "phi3", "qwen2", "qwen3"),
                         [](const auto& family) { return std::string(family.param); });

TEST(Build, RefusesConfigsThatCannotRun) {
  QSWEEP_NEEDS_REFERENCE("llama");
  const auto kind = [](const QuantConfig& config) {
    try {
      Runner runner(test::reference_folder("llama"), {}, config);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::internal;
  };
  QuantConfig gptq = configs()[0];
  gptq.method.id = quant::MethodId::gptq;
  EXPECT_EQ(kind(gptq), ErrorKind::unavailable);
  QuantConfig mixer = configs()[0];
  mixer.scope = {Scope::mixer_proj};
  EXPECT_EQ(kind(mixer), ErrorKind::invalid_input);
}

}  // namespace
}  // namespace qsweep
