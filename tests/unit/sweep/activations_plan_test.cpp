// Plans of configs that round activations: they run, and static scales need their data.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "sweep/plan/plan.hpp"
#include "unit/sweep/tiny_plan.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;
using namespace tiny_plan;

const std::string source = QSWEEP_SOURCE_DIR;

TEST(ActivationPlan, ActivationFormatsRun) {
  const Plan plan = plan_of(
      with(with(tiny, "nowhere/at-all", "phi-3.5-mini"), "  C1:",
           "  A8: {scope: all_linear, weights: fp8_e4m3/channel, activations: fp8_e4m3/token}\n"
           "  A4: {scope: mlp, weights: int4/g128, activations: int4/token}\n"
           "  alone: {scope: mlp, weights: bf16, activations: int8/token}\n  C1:"));
  EXPECT_EQ(plan.refusals.size(), 1u) << told_refusals(plan);
  EXPECT_TRUE(refused(plan, "alone", "", "int8 activations need quantized weights"))
      << told_refusals(plan);
  std::set<std::string> running;
  for (const auto& run : plan.runs) {
    running.insert(plan.study.configs[run.config].name);
    EXPECT_GT(run.cost, 0);
  }
  EXPECT_TRUE(running.contains("A8") && running.contains("A4"));
  EXPECT_NE(plan_text(plan, 1).find("fp8_e4m3 channel fp32, activations fp8_e4m3/token"),
            std::string::npos)
      << plan_text(plan, 1);
}

TEST(ActivationPlan, StaticScalesNeedCalibration) {
  const std::string text =
      with(with(tiny, "nowhere/at-all", "phi-3.5-mini"),
           "  C1:", "  A8: {scope: mlp, weights: int8/channel, activations: int8/tensor}\n  C1:");
  const Plan without = plan_of(text);
  EXPECT_TRUE(refused(without, "A8", "", "add calibration:")) << told_refusals(without);
  const auto calibrated = [&](const std::string& settings) {
    return plan_of(with(text, "repeats: 2", "repeats: 2\ncalibration: {" + settings + "}"));
  };
  const Plan with_data = calibrated("data: no-such.txt, samples: 3, length: 512");
  EXPECT_TRUE(with_data.refusals.empty()) << told_refusals(with_data);
  EXPECT_GT(with_data.calibration_seconds, 0);
  EXPECT_NE(plan_text(with_data, 1).find("calibration on up to 3 x 512 tokens of no-such.txt"),
            std::string::npos);
  const Plan longer = calibrated("data: no-such.txt, length: 131073");
  EXPECT_TRUE(refused(longer, "A8", "", "131072 positions")) << told_refusals(longer);
}

// The data behind static scales decides results of the configs that have them, and of no other.
TEST(ActivationPlan, CalibrationIsPartOfTheIdsItDecides) {
  const fs::path folder = fs::path(testing::TempDir()) / "qsweep_plan_calibration";
  fs::create_directories(folder);
  const auto ids = [&](const std::string& samples, const std::string& text) {
    std::ofstream(folder / "calibration.txt") << text;
    const std::string yaml = with(
        with(tiny,
             "  C1:", "  A8: {scope: mlp, weights: int8/channel, activations: int8/tensor}\n  C1:"),
        "repeats: 2",
        "repeats: 2\ncalibration: {data: calibration.txt, samples: " + samples + ", length: 4}");
    std::map<std::string, std::set<std::string>> by_config;
    const Plan plan = make_plan(parse_study(yaml, (folder / "study.yaml").string()), {});
    for (const auto& run : plan.runs) by_config[plan.study.configs[run.config].name].insert(run.id);
    return by_config;
  };
  const auto first = ids("8", "one");
  for (const auto& other : {ids("9", "one"), ids("8", "two")}) {
    EXPECT_NE(other.at("A8"), first.at("A8"));
    EXPECT_EQ(other.at("C1"), first.at("C1"));
  }
  EXPECT_EQ(ids("8", "one"), first);
  fs::remove_all(folder);
}

TEST(ActivationPlan, TextsOfRunsAndOfCalibrationAreAskedForOnce) {
  const Plan plan = plan_of(with(
      with(tiny,
           "  C1:", "  A8: {scope: mlp, weights: int8/channel, activations: int8/tensor}\n  C1:"),
      "repeats: 2", "repeats: 2\ncalibration: {data: other.txt, samples: 8, length: 16}"));
  const auto texts = texts_of(plan);
  ASSERT_EQ(texts.size(), 2u);
  const bool first = texts[0].data == "other.txt";
  EXPECT_EQ(texts[first ? 0 : 1].max_tokens, 128);
  EXPECT_EQ(texts[first ? 1 : 0].data, "no-such.txt");
  EXPECT_EQ(
      texts_of(plan_of(with(tiny, "repeats: 2", "repeats: 2\ncalibration: {data: other.txt}")))
          .size(),
      1u)
      << "no config reads it";
}

// What it refuses are workloads, for all configs alike; C1 rounds activations and runs.
TEST(ActivationPlan, TheScaleMetadataStudyRefusesNoConfig) {
  const Plan plan = make_plan(read_study(source + "/configs/smq_phi35.yaml"), {});
  for (const Refusal& refusal : plan.refusals) EXPECT_EQ(refusal.config, "") << refusal.reason;
  std::set<std::string> running;
  for (const auto& run : plan.runs) running.insert(plan.study.configs[run.config].name);
  EXPECT_EQ(running.size(), plan.study.configs.size());
  EXPECT_TRUE(running.contains("C1"));
}

}  // namespace
}  // namespace qsweep::sweep
