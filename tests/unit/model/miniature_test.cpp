// The trained miniatures of data/ against what transformers computed from them in fp32
// (probe.json): a trained model's sharp distributions, below and above the length at which longrope
// changes its factors.
#include <gtest/gtest.h>

#include "unit/model/reference.hpp"

namespace qsweep {
namespace {

class Miniature : public testing::TestWithParam<const char*> {
 protected:
  std::filesystem::path folder() const {
    return std::filesystem::path(QSWEEP_SOURCE_DIR) / "data" / GetParam();
  }
};

#define QSWEEP_NEEDS_MINIATURE()                                                         \
  if (!std::filesystem::exists(folder() / "probe.json")) {                               \
    GTEST_SKIP() << "no probe.json in " << folder() << "; see data/miniatures/probe.py"; \
  }

double mean_nll(const std::vector<float>& logits, const std::vector<int32_t>& tokens) {
  const size_t vocab = logits.size() / tokens.size();
  std::vector<float> row(vocab);
  double nll = 0;
  for (size_t t = 0; t + 1 < tokens.size(); ++t) {
    model::log_softmax({logits.data() + t * vocab, vocab}, row);
    nll -= row[static_cast<size_t>(tokens[t + 1])];
  }
  return nll / static_cast<double>(tokens.size() - 1);
}

TEST_P(Miniature, MatchesTransformers) {
  QSWEEP_NEEDS_MINIATURE();
  test::Runner runner(folder());
  const auto probes = nlohmann::json::parse(read_file(folder() / "probe.json", 16u << 20));
  ASSERT_FALSE(probes.empty());
  for (const auto& [name, probe] : probes.items()) {
    const auto tokens = probe.at("input_ids").get<std::vector<int32_t>>();
    const auto greedy = probe.at("greedy_ids_fp32").get<std::vector<int32_t>>();
    // Both sides are fp32 sums in different orders; the mean over tokens evens most of it out.
    EXPECT_NEAR(mean_nll(runner.logits(tokens), tokens), probe.at("mean_nll_fp32").get<double>(),
                2e-5)
        << name;
    EXPECT_EQ(runner.generate(tokens, greedy.size()), greedy) << name;
  }
}

// The published ordering: dropping the mantissa of the scales costs, five bits of it cost nothing
// that shows.
TEST_P(Miniature, FewerScaleBitsAreWorse) {
  QSWEEP_NEEDS_MINIATURE();
  const auto probes = nlohmann::json::parse(read_file(folder() / "probe.json", 16u << 20));
  const auto tokens = probes.at("heldout_1000").at("input_ids").get<std::vector<int32_t>>();
  const auto nll = [&](quant::ScaleCodec codec) {
    quant::QuantConfig config;
    config.name = "mlp";
    config.scope = {quant::Scope::mlp};
    config.weights = quant::FormatSpec{quant::FormatId::int4, 128, true, codec};
    test::Runner runner(folder(), {}, config);
    return mean_nll(runner.logits(tokens), tokens);
  };
  const double exact = nll({quant::ScaleCodecId::fp32});
  const double five = nll({quant::ScaleCodecId::e5m, 5}), none = nll({quant::ScaleCodecId::e5m, 0});
  std::printf("  %s: nll fp32 scales %.4f, e5m5 %.4f, e5m0 %.4f\n", GetParam(), exact, five, none);
  // A truncated scale is off by up to a factor of two, one with five bits by 1 / 64: twice the
  // damage is the least that must show on a thousand tokens.
  EXPECT_LT(std::fabs(five - exact), 0.01 * exact);
  EXPECT_GT(none - exact, 2 * std::fabs(five - exact));
}

INSTANTIATE_TEST_SUITE_P(Shipped, Miniature, testing::Values("mini-phi3", "mini-llama"),
                         [](const auto& mini) {
                           return std::string(mini.param).replace(4, 1, "_");
                         });

}  // namespace
}  // namespace qsweep
