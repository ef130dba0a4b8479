// Plans: grids, refusals with their reasons, stable ids, costs, the manifest read back and damaged,
// and the text.
#include "sweep/plan/plan.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "sweep/plan/cost.hpp"
#include "unit/sweep/tiny_plan.hpp"

namespace qsweep::sweep {
namespace {

using namespace tiny_plan;

namespace fs = std::filesystem;
using nlohmann::json;

const std::string source = QSWEEP_SOURCE_DIR;

TEST(Plan, GridIsRepeatThenCellThenConfig) {
  const Plan plan = plan_of(tiny);
  // 3 configs (the A/A duplicate is one), 2 profile cells twice and a perplexity cell once.
  ASSERT_EQ(plan.runs.size(), 3u * (2 * 2 + 1)) << told_refusals(plan);
  EXPECT_EQ(plan.runs[0].path, "results/C0/profile/p4_o2/r0.h5");
  EXPECT_EQ(plan.runs[1].path, "results/C1/profile/p4_o2/r0.h5");
  EXPECT_EQ(plan.runs[2].path, "results/C0_aa/profile/p4_o2/r0.h5");
  EXPECT_EQ(plan.runs[6].path, "results/C0/perplexity/w8_s4/r0.h5");
  EXPECT_EQ(plan.runs[9].path, "results/C0/profile/p4_o2/r1.h5");
  EXPECT_FALSE(plan.shape_known);
}

// Ids name files and decide what a resumed sweep does again: a change here orphans every run
// folder. They change only with record::schema::version or the canonical JSON of configs and cells,
// on purpose.
TEST(Plan, IdsAreStable) {
  const Plan plan = plan_of(tiny);
  EXPECT_EQ(plan.runs[0].id, "e8e5a4ead0d5317a");
  EXPECT_EQ(plan.runs[1].id, "568b99eefcd83407");
  EXPECT_EQ(plan.runs[7].id, "6da6749a68bf20a0");
}

TEST(Plan, IdsFollowContentAndNothingElse) {
  const Plan plan = plan_of(tiny);
  std::set<std::string> ids;
  for (const auto& run : plan.runs) {
    EXPECT_TRUE(ids.insert(run.id).second);
    EXPECT_EQ(run.id.size(), 16u);
  }
  const auto first_id = [&](const std::string& from, const std::string& to) {
    return plan_of(with(tiny, from, to)).runs[1].id;
  };
  const std::string id = plan.runs[1].id;
  EXPECT_EQ(first_id("study: tiny", "study: other"), id);
  EXPECT_EQ(first_id("within: 1%", "within: 2%"), id);
  EXPECT_EQ(first_id("repeats: 2", "repeats: 3"), id);
  EXPECT_NE(first_id("seed: 5", "seed: 6"), id);
  EXPECT_NE(first_id("e5m5", "e5m4"), id);
  EXPECT_NE(first_id("nowhere/at-all", "nowhere/else"), id);
  EXPECT_NE(first_id("output: 2", "output: 2, warmup: 2"), id);
  EXPECT_EQ(first_id("int4/g128/e5m5", "{format: int4, group: 128, scale: e5m5}"), id);
}

TEST(Plan, PerplexityIdsFollowTheBaselineTheyAreComparedWith) {
  const auto id_of = [](const Plan& plan) { return plan.runs.at(7).id; };
  const Plan plan = plan_of(tiny);
  ASSERT_EQ(plan.runs[7].path, "results/C1/perplexity/w8_s4/r0.h5");
  EXPECT_NE(id_of(plan_of(tiny + "baseline: C1\n")), id_of(plan));
}

TEST(Plan, TheTextOfAPerplexityIsPartOfItsId) {
  const fs::path folder = fs::path(testing::TempDir()) / "qsweep_plan_text";
  fs::create_directories(folder);
  std::ofstream(folder / "no-such.txt") << "one";
  const Study study = parse_study(tiny, (folder / "study.yaml").string());
  const std::string before = make_plan(study, {}).runs[7].id;
  std::ofstream(folder / "no-such.txt") << "two";
  EXPECT_NE(make_plan(study, {}).runs[7].id, before);
  EXPECT_NE(plan_of(tiny).runs[7].id, before);
  fs::remove_all(folder);
}

TEST(Plan, OnlyAndRepeatsNarrowTheGrid) {
  EXPECT_EQ(plan_of(tiny, only({"C1"})).runs.size(), 5u);
  EXPECT_EQ(plan_of(tiny, only({"C1/profile"})).runs.size(), 4u);
  EXPECT_EQ(plan_of(tiny, only({"perpl*"})).runs.size(), 3u);
  EXPECT_EQ(plan_of(tiny, only({plan_of(tiny).runs[3].id})).runs.size(), 1u);
  EXPECT_EQ(plan_of(tiny, only({"results/C0/profile/p4_o2/*"})).runs.size(), 2u);
  EXPECT_EQ(plan_of(tiny, repeated(4)).runs.size(), 3u * 3 * 4);
  EXPECT_THROW(plan_of(tiny, only({"C7"})), Error);
}

TEST(Plan, RefusesWhatCannotRunWithAReason) {
  const std::string text = with(with(tiny, "nowhere/at-all", "phi-3.5-mini"), "  C1:",
                                "  C2: {scope: mlp, weights: int4/g128, method: gptq}\n"
                                "  C3: {scope: mixer_proj, weights: int8/channel}\n  C1:");
  const Plan plan =
      plan_of(with(text, "prompt: [4, 8]", "prompt: [4, 131072]") + "noise_floor: true\n");
  EXPECT_TRUE(plan.shape_known);
  EXPECT_TRUE(refused(plan, "C2", "", "not available yet")) << told_refusals(plan);
  EXPECT_TRUE(refused(plan, "C3", "", "")) << told_refusals(plan);
  EXPECT_TRUE(refused(plan, "", "profile", "131074 positions, but the model has 131072"))
      << told_refusals(plan);
  for (const auto& run : plan.runs) {
    const std::string& config = plan.study.configs[run.config].name;
    EXPECT_TRUE(config == "C0" || config == "C1" || config == "C0_aa") << config;
    EXPECT_NE(plan.cells[run.cell].lengths, "p131072_o2");
  }
}

TEST(Plan, RefusesEverythingWhereTheBaselineCannotRun) {
  const Plan plan =
      plan_of(with(tiny, "C0: {}", "C0: {scope: mlp, weights: int4/g128, method: gptq}"));
  EXPECT_TRUE(plan.runs.empty());
  EXPECT_TRUE(refused(plan, "C1", "", "the baseline C0 cannot run")) << told_refusals(plan);
}

TEST(Plan, SyntheticRunsNeedNoModelAndRefuseNoConfig) {
  const Plan plan = make_plan(read_study(source + "/configs/synthetic.yaml"), {});
  EXPECT_TRUE(plan.refusals.empty()) << told_refusals(plan);
  EXPECT_EQ(plan.runs.size(), plan.study.configs.size() * 4 * 5 + 2) << "two sentinels in 140";
  EXPECT_DOUBLE_EQ(plan.runs[0].cost, 0.05);
}

std::vector<Run> sentinels_of(const Plan& plan) {
  std::vector<Run> sentinels;
  std::copy_if(plan.runs.begin(), plan.runs.end(), std::back_inserter(sentinels),
               [](const Run& run) { return run.sentinel; });
  return sentinels;
}

TEST(Plan, SentinelsRepeatTheDuplicateOnTheShortestTimedCell) {
  // 3 configs x (2 profile cells x 2 repeats + 1 perplexity) = 15 runs.
  const Plan plan = plan_of("sentinel: 4\n" + tiny);
  const std::vector<sweep::Run> sentinels = sentinels_of(plan);
  ASSERT_EQ(sentinels.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(plan.study.configs[sentinels[i].config].name, "C0_aa");
    EXPECT_EQ(sentinels[i].path, "results/C0_aa/profile/p4_o2/r" + std::to_string(2 + i) + ".h5");
  }
  // Further repeats of the same cell: the ids that they would have as such.
  const Plan more = plan_of("sentinel: 0\n" + tiny, repeated(5));
  for (const sweep::Run& sentinel : sentinels) {
    EXPECT_TRUE(std::any_of(more.runs.begin(), more.runs.end(), [&](const sweep::Run& run) {
      return run.id == sentinel.id && run.path == sentinel.path;
    }));
  }
}

TEST(Plan, AnotherBackendIsAnotherRun) {
  PlanOptions gpu;
  gpu.backend = "cuda";
  EXPECT_EQ(plan_of(tiny).runs[0].path, plan_of(tiny, gpu).runs[0].path);
  EXPECT_NE(plan_of(tiny).runs[0].id, plan_of(tiny, gpu).runs[0].id);
}

TEST(Plan, NoSentinelsWithoutDuplicateOrTimedCell) {
  EXPECT_TRUE(sentinels_of(plan_of("sentinel: 0\n" + tiny)).empty());
  EXPECT_TRUE(sentinels_of(plan_of("sentinel: 4\nnoise_floor: false\n" + tiny)).empty());
  EXPECT_TRUE(sentinels_of(plan_of("sentinel: 1\n" + tiny, only({"perplexity"}))).empty());
  EXPECT_TRUE(sentinels_of(plan_of(tiny)).empty()) << "one in fifty of 15 runs";
}

// Shape by hand: phi-3.5-mini has 32 layers of qkv [9216, 3072], o [3072, 3072], gate_up [16384,
// 3072], down [3072, 8192], two tables [32064, 3072] and 65 norms of 3072.
TEST(Cost, WeightBytesFollowTheShapes) {
  const model::ModelConfig& shape = *model::published_shape("phi-3.5-mini");
  const uint64_t attention = 32ull * (9216 * 3072 + 3072 * 3072),
                 mlp = 32ull * (16384 * 3072 + 3072 * 8192);
  const uint64_t table = 32064ull * 3072, norms = 65ull * 3072;
  const WeightCost raw = weight_cost(shape, {});
  EXPECT_EQ(raw.resident, 2 * (attention + mlp + 2 * table + norms));
  EXPECT_EQ(raw.read, 2 * (attention + mlp + table + norms));
  quant::QuantConfig config;
  config.scope = {quant::Scope::mlp};
  config.weights = quant::FormatSpec{quant::FormatId::int4, 128, true, {quant::ScaleCodecId::fp16}};
  // Half a byte a weight and two bytes of scale in 128 weights.
  EXPECT_EQ(weight_cost(shape, config).resident, raw.resident - 2 * mlp + mlp / 2 + mlp / 64);
  EXPECT_EQ(linears_problem(shape, config), "");
}

TEST(Cost, TimesGrowWithLengthAndShrinkWithBytes) {
  const model::ModelConfig& shape = *model::published_shape("llama-3.2-1b");
  const auto seconds = [&](int64_t prompt, int64_t output, const WeightCost& weights) {
    eval::Cell cell;
    cell.params = eval::ProfileParams{prompt, output, 0};
    return predict_seconds(cell, {&shape, weights, weights, 0, {1e15, 1e9, 0}});
  };
  const WeightCost raw = weight_cost(shape, {});
  const double one = seconds(1, 1, raw);
  // One prefill of one token reads the weights once: bytes over rate, plus a token's cache.
  EXPECT_NEAR(one, static_cast<double>(raw.read) * 1e-9, 0.001 * one);
  EXPECT_NEAR(seconds(1, 11, raw), 11 * one, 0.01 * 11 * one);
  EXPECT_NEAR(seconds(1, 11, {raw.resident / 4, raw.read / 4}), 11 * one / 4, 0.02 * 11 * one / 4);
}

class Shipped : public testing::TestWithParam<const char*> {};

TEST_P(Shipped, ParsesPlansAndReadsBack) {
  const Study study = read_study(source + "/configs/" + GetParam() + ".yaml");
  const Plan plan = make_plan(study, {});
  const std::string text = plan_text(plan, 4);
  EXPECT_NE(text.find("study " + study.name), std::string::npos);
  for (const auto& config : study.configs) EXPECT_NE(text.find(config.name), std::string::npos);
  for (const Refusal& refusal : plan.refusals) EXPECT_FALSE(refusal.reason.empty());
  const Study again = parse_study(to_yaml(study), study.file.string());
  EXPECT_EQ(to_yaml(again), to_yaml(study));
  const Plan replanned = make_plan(again, {});
  ASSERT_EQ(replanned.runs.size(), plan.runs.size());
  for (size_t i = 0; i < plan.runs.size(); ++i) EXPECT_EQ(replanned.runs[i].id, plan.runs[i].id);
}

INSTANTIATE_TEST_SUITE_P(Each, Shipped,
                         testing::Values("quickstart", "smq_phi35", "ssm_mamba2", "ptq_llama32",
                                         "kv_c2c", "synthetic"));

// The studies' shapes are published, so their costs and memory are known without files.
TEST(Plan, ShippedStudiesPredictMemoryFromPublishedShapes) {
  const Plan plan = make_plan(read_study(source + "/configs/smq_phi35.yaml"), {});
  ASSERT_TRUE(plan.shape_known);
  EXPECT_EQ(plan.weight_bytes_max, weight_cost(plan.shape, {}).resident);
  EXPECT_GT(plan.peak_bytes, plan.weight_bytes_max);
  EXPECT_GT(plan.runs.at(0).cost, 0);
}

TEST(Plan, AHundredThousandRunsPlanInTime) {
  std::string list;
  for (int i = 1; i <= 100; ++i) list += (i > 1 ? ", " : "") + std::to_string(i);
  const std::string text =
      "study: big\nmodel: phi-3.5-mini\nrepeats: 10\nnoise_floor: false\nconfigs:\n  C0: {}\n"
      "  C: {sweep: {g: [" +
      list.substr(0, list.find(", 100")) +
      "]}, scope: mlp, weights: \"int8/g{g}\"}\n"
      "workloads:\n  profile: {prompt: [" +
      list + "], output: 2}\n";
  const Stopwatch watch;
  const Plan plan = plan_of(text);
  EXPECT_GE(plan.runs.size() + 10 * 100 * plan.refusals.size(), 100000u);
  EXPECT_LT(plan_text(plan, 64).size(), 20000u);
  // The promise is 5 s on a quiet core; measured well below 2 s.
  EXPECT_LT(watch.seconds(), 5.0);
}

TEST(Plan, TooManyRunsAreRefused) {
  EXPECT_THROW(plan_of(with(tiny, "repeats: 2", "repeats: 100000"), repeated(1000000)), Error);
}

TEST(Claims, HashFollowsTheirContentAndNotTheirOrder) {
  const std::vector<Claim> claims = parse_study(tiny, "s.yaml").claims;
  EXPECT_EQ(claims_hash(claims), claims_hash({claims[1], claims[0]}));
  std::vector<Claim> changed = claims;
  changed[0].within = 0.02;
  EXPECT_NE(claims_hash(changed), claims_hash(claims));
  EXPECT_NE(claims_hash({claims[0]}), claims_hash(claims));
}

class Manifest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("qsweep_manifest_" + std::to_string(std::random_device{}()));
    fs::create_directories(folder_);
    plan_ =
        plan_of(with(tiny, "  C1:", "  C2: {scope: mlp, weights: int4/g128, method: gptq}\n  C1:"));
    json_ = plan_to_json(plan_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  PlanManifest read(const std::string& text) {
    std::ofstream(folder_ / "plan.json") << text;
    return read_plan_manifest(folder_ / "plan.json");
  }
  std::string refusal_of(const std::string& text) {
    try {
      (void)read(text);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
      return error.what();
    }
    return "accepted";
  }
  fs::path folder_;
  Plan plan_;
  json json_;
};

TEST_F(Manifest, ReadsBackWhatWasWritten) {
  const PlanManifest manifest = read(json_.dump());
  EXPECT_EQ(manifest.study, "tiny");
  EXPECT_EQ(manifest.baseline, "C0");
  EXPECT_EQ(manifest.configs, (std::vector<std::string>{"C0", "C2", "C1", "C0_aa"}));
  EXPECT_EQ(manifest.duplicate_of, (std::vector<std::string>{"", "", "", "C0"}));
  ASSERT_EQ(manifest.runs.size(), plan_.runs.size());
  EXPECT_EQ(manifest.runs[1].id, plan_.runs[1].id);
  EXPECT_EQ(manifest.runs[1].path, plan_.runs[1].path);
  EXPECT_EQ(manifest.runs[1].kind, "profile");
  EXPECT_EQ(claims_hash(manifest.claims), manifest.claims_hash);
  ASSERT_EQ(manifest.refusals.size(), plan_.refusals.size());
  EXPECT_EQ(manifest.refusals[0].reason, plan_.refusals[0].reason);
}

TEST_F(Manifest, HostileOnesAreRefusedWithTheirPlace) {
  const auto change = [this](const std::string& pointer, const json& value) {
    json copy = json_;
    copy[json::json_pointer(pointer)] = value;
    return refusal_of(copy.dump());
  };
  const std::tuple<std::string, json, std::string> cases[] = {
      {"/runs/0/path", "../../etc/passwd", "runs[0] has the path"},
      {"/runs/0/path", "/etc/passwd", "runs[0] has the path"},
      {"/runs/0/config", "..", "runs[0] has a key 'config' that cannot name a folder"},
      {"/runs/0/config", "C9", "runs[0] is of the unknown config C9"},
      {"/runs/0/lengths", "a/b", "runs[0] has a key 'lengths'"},
      {"/runs/0/id", "xyz", "runs[0] has an id"},
      {"/runs/1/id", json_["runs"][0]["id"], "runs[1] has the id of another run"},
      {"/runs/0/repeat", -1, "runs[0] has a key 'repeat'"},
      {"/runs/0/repeat", 1e300, "runs[0] has a key 'repeat'"},
      {"/runs/0/repeat", 18446744073709551615ull, "runs[0] has a key 'repeat'"},
      {"/runs/0/cost", -1, "runs[0] has a key 'cost'"},
      {"/runs/0/cost", nullptr, "runs[0] has a key 'cost'"},
      {"/runs/0/kind", "nothing", "runs[0] is of an unknown workload kind"},
      {"/runs/0", 5, "runs[0] should be an object"},
      {"/runs", "many", "the plan has a key 'runs' that is no list"},
      {"/study", "../x", "the plan has a key 'study'"},
      {"/model", std::string(5000, 'x'), "the plan has a key 'model'"},
      {"/configs/1/name", "C0", "the plan names a config twice"},
      {"/configs/1/duplicate_of", "C7", "the plan duplicates the unknown config C7"},
      {"/baseline", "C7", "the plan has a baseline"},
      {"/claims/0/kind", "is", "claims[0] has an unknown kind"},
      {"/claims/0/configs", json::array({"C0"}), "claims[0] compares less than two"},
      {"/claims/0/within", "1%", "claims[0] has a key 'within'"},
      {"/schema_version", 99, "the plan has another schema version"},
      {"/refusals/0/config", "../C", "refusals[0] has a key 'config'"},
  };
  for (const auto& [pointer, value, expected] : cases) {
    const std::string told = change(pointer, value);
    EXPECT_NE(told.find(expected), std::string::npos) << pointer << " = " << value << "\n" << told;
    EXPECT_NE(told.find("plan.json"), std::string::npos);
  }
}

TEST_F(Manifest, DamagedFilesAreRefused) {
  const std::string text = json_.dump();
  for (const std::string& damaged :
       {std::string(), std::string("null"), std::string("[]"), text.substr(0, text.size() / 2),
        std::string(200000, '['), std::string("{\"study\": \"\xff\"}")}) {
    EXPECT_NE(refusal_of(damaged).find("plan.json"), std::string::npos);
  }
  for (const auto& [key, value] : json_.items()) {
    if (key == "cells" || key == "seed" || key == "model_fingerprint" || key.ends_with("bytes") ||
        key.ends_with("max")) {
      continue;  // for people; the reader needs none of them
    }
    json copy = json_;
    copy.erase(key);
    EXPECT_NE(refusal_of(copy.dump()).find("lacks the key '" + key + "'"), std::string::npos)
        << key;
  }
}

}  // namespace
}  // namespace qsweep::sweep
