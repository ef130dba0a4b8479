// The certificate must hold for honest runs and break for every way of cheating that it is there to
// catch.
#include "eval/certificate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "eval/workload.hpp"
#include "model/structure.hpp"

namespace qsweep::eval {
namespace {

class Certificate : public ::testing::Test {
 protected:
  void SetUp() override {
    checkpoint_ = model::Checkpoint::open(std::string(QSWEEP_SOURCE_DIR) + "/data/mini-phi3");
    context_.calls = &calls_;
    baseline_ = model::build_model(checkpoint_, {}, context_);
    config_.name = "C4";
    config_.scope = {quant::Scope::mlp};
    config_.weights =
        quant::FormatSpec{quant::FormatId::int4,
                          128,
                          true,
                          {quant::ScaleCodecId::e5m, 5, true, quant::ScaleRounding::published}};
    build();
  }

  void build() {
    model::LoadReport report;
    model_ = model::build_model(checkpoint_, config_, context_, baseline_.get(), &report,
                                model::RawWeights::read, ranges_);
    residency_.errors = report.errors;
    residency_.canary = measure_canary(context_, *model_, *baseline_);
  }

  // C1 in small: weights and inputs in eight bits.
  void build_with_activations() {
    config_.weights = quant::FormatSpec{quant::FormatId::fp8_e4m3};
    config_.activations = {quant::ActivationId::fp8_e4m3, quant::ActivationScale::token};
    build();
  }

  void run(int steps = 2) {
    const auto state = model::make_state(*model_, 32);
    const std::vector<int32_t> tokens = {5, 6, 7, 8};
    for (int i = 0; i < steps; ++i) {
      const model::Chunk chunk{state.get(), tokens};
      const model::Matrix hidden = model::forward(context_, *model_, {&chunk, 1});
      model::logits(context_, *model_, hidden.data(), 1);
    }
  }

  record::RunRecord certify(const std::function<void()>& during) {
    const Witness witness(*model_);
    during();
    record::RunRecord record;
    witness.finish(context_, *model_, config_, residency_, record);
    return record;
  }

  model::Linear* in_scope() {
    for (model::Linear* linear : model::linears(*model_)) {
      if (linear->quantized) return linear;
    }
    return nullptr;
  }

  std::shared_ptr<const model::Checkpoint> checkpoint_;
  device::Context context_;
  device::KernelCalls calls_;
  quant::QuantConfig config_;
  std::shared_ptr<model::Model> baseline_, model_;
  Residency residency_;
  model::ActivationRanges ranges_;
};

TEST_F(Certificate, HoldsForAnHonestRun) {
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_EQ(certificate_problem(record), "");
}

TEST_F(Certificate, HoldsForTheUnquantizedBaseline) {
  model_ = baseline_;
  config_ = {};
  residency_ = {};
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_EQ(certificate_problem(record), "");
}

// Raw weights of the checkpoint's own format are nobody's packing; others are made and measured.
TEST_F(Certificate, HoldsForLayersLeftAsTheCheckpointHasThem) {
  for (const quant::FormatId raw : {quant::FormatId::bf16, quant::FormatId::fp16}) {
    config_.layers = {{"0", {0, 0, false}, quant::FormatSpec{raw}, {}}};
    build();
    const record::RunRecord record = certify([&] { run(); });
    EXPECT_EQ(certificate_problem(record), "") << name_of(raw);
    const auto hashes =
        std::get<std::vector<std::string>>(record.datasets.at("certificate/hash_packed").values);
    const auto empty = std::count(hashes.begin(), hashes.end(), "");
    EXPECT_EQ(static_cast<size_t>(empty),
              hashes.size() - (raw == quant::FormatId::bf16 ? 8u : 10u));
  }
  config_.layers.clear();
  config_.weights = quant::FormatSpec{};
  config_.activations.id = quant::ActivationId::bf16;
  build();
  EXPECT_EQ(certificate_problem(certify([&] { run(); })), "") << "all as the checkpoint has it";
}

TEST_F(Certificate, BreaksWhenAPackedByteChanges) {
  const record::RunRecord record = certify([&] {
    run();
    const auto& codes = in_scope()->weight->codes;
    const_cast<std::byte*>(codes.data())[7] ^= std::byte{1};
  });
  EXPECT_NE(certificate_problem(record).find("changed after quantization"), std::string::npos);
}

TEST_F(Certificate, BreaksWhenTheKernelIsBypassed) {
  // The linear in scope computes from another matrix, the baseline's, behind the config's back.
  const record::RunRecord record = certify([&] {
    run(1);
    model::Linear* linear = in_scope();
    const auto packed = linear->weight;
    for (const model::Linear* other : model::linears(*baseline_)) {
      if (other->name == linear->name) linear->weight = other->weight;
    }
    run(1);
    linear->weight = packed;
  });
  EXPECT_NE(certificate_problem(record).find("calls of kernels"), std::string::npos);
}

TEST_F(Certificate, BreaksWhenAFullPrecisionTensorIsLeftInScope) {
  model::Linear* linear = in_scope();
  for (const model::Linear* other : model::linears(*baseline_)) {
    if (other->name == linear->name) linear->weight = other->weight;
  }
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_NE(certificate_problem(record).find("the config promises int4 g128 e5m5"),
            std::string::npos)
      << certificate_problem(record);
}

TEST_F(Certificate, BreaksWhenTheErrorIsImplausiblySmall) {
  residency_.errors.front().relative_mse = 1e-12;
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_NE(certificate_problem(record).find("outside the band"), std::string::npos);
}

TEST_F(Certificate, BreaksWhenNothingChangedInEffect) {
  residency_.canary = 0;
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_NE(certificate_problem(record).find("nothing was quantized"), std::string::npos);
}

TEST_F(Certificate, HoldsWhereInputsAreRounded) {
  build_with_activations();
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_EQ(certificate_problem(record), "");
  const auto texts = [&](const char* path) {
    return std::get<std::vector<std::string>>(record.datasets.at(path).values);
  };
  const auto names = texts("certificate/tensor"), found = texts("certificate/activations"),
             promised = texts("certificate/expected_activations");
  for (size_t i = 0; i < names.size(); ++i) {
    const bool mlp = names[i].find("mlp") != std::string::npos;
    EXPECT_EQ(found[i], mlp ? "fp8_e4m3_token" : "none") << names[i];
    EXPECT_EQ(promised[i], found[i]) << names[i];
  }
}

// The very same packed weights, multiplied with inputs as they are.
TEST_F(Certificate, BreaksWhenInputsAreNotRounded) {
  build_with_activations();
  const auto honest = config_;
  config_.activations = {};
  build();
  config_ = honest;
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_NE(certificate_problem(record).find("rounded to none, the config promises fp8_e4m3_token"),
            std::string::npos)
      << certificate_problem(record);
}

TEST_F(Certificate, BreaksWhenSomeInputsAreNotRounded) {
  build_with_activations();
  const record::RunRecord record = certify([&] {
    run(1);
    model::Linear* linear = &model_->blocks[0].down;
    const quant::ActivationRounding rounding = linear->activations;
    linear->activations = {};
    run(1);
    linear->activations = rounding;
  });
  EXPECT_NE(certificate_problem(record).find("inputs of 1 of 2 calls"), std::string::npos)
      << certificate_problem(record);
}

TEST_F(Certificate, BreaksWhenInputsAreRoundedUnasked) {
  build_with_activations();
  config_.activations = {};
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_NE(certificate_problem(record).find("rounded to fp8_e4m3_token, the config promises none"),
            std::string::npos)
      << certificate_problem(record);
}

TEST_F(Certificate, BreaksWhenInputsAreRoundedToAnotherFormat) {
  build_with_activations();
  config_.activations.id = quant::ActivationId::int8;
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_NE(certificate_problem(record).find("the config promises int8_token"), std::string::npos)
      << certificate_problem(record);
}

TEST_F(Certificate, HoldsForStaticScalesAndNamesTheirRanges) {
  for (const model::Linear* linear : model::linears(*baseline_)) ranges_[linear->name] = 3;
  build_with_activations();
  config_.activations.scale = quant::ActivationScale::tensor;
  build();
  const record::RunRecord record = certify([&] { run(); });
  EXPECT_EQ(certificate_problem(record), "");
  const auto absmax =
      std::get<std::vector<double>>(record.datasets.at("certificate/activation_absmax").values);
  const auto promised = std::get<std::vector<std::string>>(
      record.datasets.at("certificate/expected_activations").values);
  for (size_t i = 0; i < absmax.size(); ++i) {
    EXPECT_EQ(absmax[i] == 3, promised[i] == "fp8_e4m3_tensor") << i;
    EXPECT_EQ(std::isnan(absmax[i]), promised[i] == "none") << i;
  }
  // Rounded by another range it is another model.
  const auto three = model_;
  for (auto& [linear, range] : ranges_) range = 2;
  build();
  EXPECT_TRUE(measure_canary(context_, *three, *model_).has_value());
}

// The same packed weights under other activations are another model, which the canary must show.
TEST_F(Certificate, TheCanarySeesActivationsAlone) {
  build_with_activations();
  const auto rounded = model_;
  config_.activations = {};
  build();
  const auto canary = measure_canary(context_, *rounded, *model_);
  ASSERT_TRUE(canary.has_value());
  EXPECT_GT(*canary, 1e-4);
  EXPECT_EQ(measure_canary(context_, *rounded, *rounded), std::nullopt);
}

TEST_F(Certificate, BreaksWhenTheRecordIsEditedLater) {
  record::RunRecord record = certify([&] { run(); });
  auto& hashes =
      std::get<std::vector<std::string>>(record.datasets["certificate/hash_packed"].values);
  hashes.back() = std::string(64, '0');
  EXPECT_NE(certificate_problem(record).find("changed after it was written"), std::string::npos);
  EXPECT_NE(certificate_problem(record::RunRecord{}), "");
}

}  // namespace
}  // namespace qsweep::eval
