#include "reduce/claims.hpp"

#include <gtest/gtest.h>

#include "record/schema.hpp"
#include "reduce/compare.hpp"
#include "reduce/noise_floor.hpp"
#include "unit/reduce/golden.hpp"

namespace qsweep::reduce {
namespace {

namespace schema = record::schema;
using sweep::Claim;
using sweep::ClaimKind;
using test::expect_close;
using test::golden;
using test::numbers;

size_t metric_index(const std::string& name) {
  return static_cast<size_t>(schema::find_metric(name) - schema::metrics().data());
}

// Observations in memory, with items by config, cell and metric.
struct World {
  Observations obs;
  std::map<std::tuple<size_t, size_t, size_t>, Items> items;

  World(std::vector<std::string> configs, std::vector<CellKey> cells) {
    obs.configs = std::move(configs);
    obs.cells = std::move(cells);
    obs.runs.resize(obs.configs.size() * obs.cells.size());
    obs.planned.assign(obs.runs.size(), 1);
    obs.items = [this](size_t config, size_t cell, size_t metric) {
      const auto found = items.find({config, cell, metric});
      return found == items.end() ? Items{} : found->second;
    };
  }
  World(const World&) = delete;

  RunValues& run(size_t config, size_t cell, int64_t repeat) {
    auto& runs = obs.runs[obs.at(config, cell)];
    for (RunValues& there : runs) {
      if (there.repeat == repeat) return there;
    }
    runs.emplace_back();
    runs.back().repeat = repeat;
    runs.back().metrics.assign(schema::metrics().size(), std::numeric_limits<double>::quiet_NaN());
    runs.back().protocol_fingerprint = "protocol";
    return runs.back();
  }
  void set(size_t config, size_t cell, const std::string& metric, std::vector<double> repeats) {
    for (size_t r = 0; r < repeats.size(); ++r) {
      run(config, cell, static_cast<int64_t>(r)).metrics[metric_index(metric)] = repeats[r];
    }
  }
  void set_items(size_t config, size_t cell, const std::string& metric, Items of) {
    const double value = weighted_mean(of.values, of.weights);
    set(config, cell, metric, {value, value});
    items[{config, cell, metric_index(metric)}] = std::move(of);
  }
};

Claim claim_of(ClaimKind kind, std::vector<std::string> configs, std::string metric,
               double within = 0) {
  Claim claim;
  claim.name = "c";
  claim.kind = kind;
  claim.configs = std::move(configs);
  claim.metric = std::move(metric);
  claim.within = within;
  return claim;
}

ClaimResult judge_one(const Claim& claim, const World& world) {
  return judge_claims({claim}, 1, world.obs)[0];
}

// ---- every kind of claim on every kind of spread, against NumPy and SciPy

void fill_from_golden(const nlohmann::json& g, World& world) {
  const size_t n_cells = g["lengths"].size();
  for (size_t config = 0; config < world.obs.configs.size(); ++config) {
    for (const auto& [metric, values] : g["data"][world.obs.configs[config]].items()) {
      const std::string kind = metric.substr(0, metric.find('.'));
      for (size_t i = 0; i < values.size(); ++i) {
        const size_t cell = kind == "profile"      ? i
                            : kind == "perplexity" ? n_cells + i
                                                   : 2 * n_cells;
        const schema::MetricInfo& info = *schema::find_metric(metric);
        if (!info.items.empty()) {
          Items items{numbers(values[i]), {}};
          if (kind == "perplexity") items.weights = numbers(g["tokens"][i]);
          world.set_items(config, cell, metric, std::move(items));
        } else if (info.deterministic) {
          world.set(config, cell, metric, std::vector<double>(2, values[i].get<double>()));
        } else {
          world.set(config, cell, metric, numbers(values[i]));
        }
      }
    }
  }
}

Claim claim_from(const nlohmann::json& c) {
  Claim claim;
  claim.name = c["name"];
  claim.kind = *parse_name<ClaimKind>(c["kind"].get<std::string>());
  claim.configs = c["configs"].get<std::vector<std::string>>();
  claim.metric = c["metric"];
  claim.within = c.value("within", 0.0);
  claim.within_relative = c.value("within_relative", true);
  claim.increasing = c.value("increasing", true);
  claim.lengths = c.value("lengths", "");
  return claim;
}

TEST(Claims, AgreeWithNumPyAndSciPy) {
  const auto g = golden("claims.json");
  std::vector<CellKey> cells;
  for (const char* kind : {"profile", "perplexity"}) {
    for (const auto& lengths : g["lengths"]) cells.push_back({kind, lengths, kind});
  }
  cells.push_back({"synthetic", "n1", "synthetic"});
  World world(g["configs"].get<std::vector<std::string>>(), cells);
  fill_from_golden(g, world);
  std::vector<Claim> claims;
  for (const auto& c : g["claims"]) claims.push_back(claim_from(c));

  const std::vector<ClaimResult> results = judge_claims(claims, claims.size(), world.obs);
  std::map<Verdict, int> seen;
  for (size_t i = 0; i < results.size(); ++i) {
    const ClaimResult& r = results[i];
    const auto& e = g["expected"][i];
    SCOPED_TRACE(r.name + ": " + r.note);
    EXPECT_EQ(std::string(name_of(r.verdict)), e["verdict"].get<std::string>());
    ++seen[r.verdict];
    EXPECT_FALSE(r.exploratory);
    const auto field = [&](const char* name, double found) {
      expect_close(found, e.contains(name) ? test::number(e[name]) : std::nan(""), name);
    };
    field("estimate", r.estimate);
    field("ci_low", r.ci_low);
    field("ci_high", r.ci_high);
    field("margin", r.margin);
    field("p_support", r.p_support);
    field("p_refute", r.p_refute);
    field("p_support_holm", r.p_support_holm);
    field("p_refute_holm", r.p_refute_holm);
    field("smallest_detectable", r.smallest_detectable);
    EXPECT_EQ(r.test, e.value("test", ""));
    EXPECT_EQ(r.n, e.value("n", 0));
  }
  EXPECT_GT(seen[Verdict::supported], 0);
  EXPECT_GT(seen[Verdict::refuted], 0);
  EXPECT_GT(seen[Verdict::inconclusive], 0);
}

// ---- what keeps a claim from being tested

const std::vector<CellKey> one_profile_cell = {{"profile", "p8_o8", "profile"}};
const std::vector<CellKey> one_quality_cell = {{"perplexity", "w8_s8", "perplexity"}};

TEST(Claims, OneRepeatIsInconclusive) {
  World world({"A", "B"}, one_profile_cell);
  world.set(0, 0, "profile.tpot_ms", {1.0});
  world.set(1, 0, "profile.tpot_ms", {2.0});
  const ClaimResult r =
      judge_one(claim_of(ClaimKind::better, {"A", "B"}, "profile.tpot_ms"), world);
  EXPECT_EQ(r.verdict, Verdict::inconclusive);
  EXPECT_TRUE(std::isnan(r.p_support));
  EXPECT_NE(r.note.find("1 of at least 2 repeats"), std::string::npos) << r.note;
}

TEST(Claims, OnlyRepeatsWithEveryCellOfBothCount) {
  World world({"A", "B"}, {{"profile", "p8_o8", "profile"}, {"profile", "p16_o8", "profile"}});
  for (size_t config : {0, 1}) {
    for (size_t cell : {0, 1}) world.set(config, cell, "profile.tpot_ms", {1.0, 1.1, 1.05, 1.2});
  }
  auto& holed = world.obs.runs[world.obs.at(1, 1)];
  holed.erase(holed.begin() + 2);
  const ClaimResult r =
      judge_one(claim_of(ClaimKind::equivalent, {"A", "B"}, "profile.tpot_ms", 0.5), world);
  EXPECT_EQ(r.n, 3);
  EXPECT_DOUBLE_EQ(r.estimate, 1.0);
}

TEST(Claims, CellsRefusedForOneConfigAreLeftOutAloud) {
  World world({"A", "B"}, {{"profile", "p8_o8", "profile"}, {"profile", "p16_o8", "profile"}});
  for (size_t config : {0, 1}) world.set(config, 0, "profile.tpot_ms", {1.0, 1.1, 1.2});
  world.obs.planned[world.obs.at(1, 1)] = 0;
  const ClaimResult r =
      judge_one(claim_of(ClaimKind::equivalent, {"A", "B"}, "profile.tpot_ms", 0.5), world);
  EXPECT_EQ(r.n, 3);
  EXPECT_NE(r.note.find("1 cells left out"), std::string::npos) << r.note;
}

World& quality_world(World& world) {
  world.set_items(0, 0, "perplexity.nll", {{1.0, 2.0, 3.0}, {8, 8, 4}});
  world.set_items(1, 0, "perplexity.nll", {{1.5, 2.5, 3.5}, {8, 8, 4}});
  return world;
}
const Claim better_nll = claim_of(ClaimKind::better, {"A", "B"}, "perplexity.nll");

TEST(Claims, ProtocolsMustAgree) {
  World world({"A", "B"}, one_quality_cell);
  quality_world(world);
  ASSERT_EQ(judge_one(better_nll, world).verdict, Verdict::supported);
  for (RunValues& run : world.obs.runs[world.obs.at(1, 0)]) run.protocol_fingerprint = "another";
  const ClaimResult r = judge_one(better_nll, world);
  EXPECT_EQ(r.verdict, Verdict::inconclusive);
  EXPECT_NE(r.note.find("protocols of A and B differ"), std::string::npos) << r.note;
}

TEST(Claims, RepeatsOfAQualityFigureMustBeTheSameBits) {
  World world({"A", "B"}, one_quality_cell);
  quality_world(world);
  double& value = world.run(1, 0, 1).metrics[metric_index("perplexity.nll")];
  value = std::nextafter(value, 10.0);
  const ClaimResult r = judge_one(better_nll, world);
  EXPECT_EQ(r.verdict, Verdict::inconclusive);
  EXPECT_NE(r.note.find("determinism violated: repeats 0 and 1 of B"), std::string::npos) << r.note;

  World items_differ({"A", "B"}, one_quality_cell);
  quality_world(items_differ);
  items_differ.run(0, 0, 1).items_digest[metric_index("perplexity.nll")] = "other items, same mean";
  EXPECT_EQ(judge_one(better_nll, items_differ).verdict, Verdict::inconclusive);
}

TEST(Claims, ItemsMustPair) {
  World world({"A", "B"}, one_quality_cell);
  quality_world(world);
  world.items[{1, 0, metric_index("perplexity.nll")}].weights[0] = 9;
  EXPECT_NE(judge_one(better_nll, world).note.find("items do not pair"), std::string::npos);
  world.items[{1, 0, metric_index("perplexity.nll")}] = {{1.0}, {8}};
  EXPECT_NE(judge_one(better_nll, world).note.find("items do not pair"), std::string::npos);
  world.items[{1, 0, metric_index("perplexity.nll")}] = {{1.0, NAN, 2.0}, {8, 8, 4}};
  EXPECT_NE(judge_one(better_nll, world).note.find("not finite"), std::string::npos);
  world.items.erase({1, 0, metric_index("perplexity.nll")});
  EXPECT_NE(judge_one(better_nll, world).note.find("no items"), std::string::npos);
}

TEST(Claims, NonsenseIsInconclusiveWithAReason) {
  World world({"A", "B"}, one_profile_cell);
  const auto note = [&](const Claim& claim) {
    const ClaimResult r = judge_one(claim, world);
    EXPECT_EQ(r.verdict, Verdict::inconclusive);
    return r.note;
  };
  EXPECT_EQ(note(claim_of(ClaimKind::better, {"A", "B"}, "tasks.accuracy")),
            "no record holds the metric tasks.accuracy");
  EXPECT_EQ(note(claim_of(ClaimKind::better, {"A", "Z"}, "profile.tpot_ms")),
            "the plan has no config Z");
  EXPECT_EQ(note(claim_of(ClaimKind::better, {"A"}, "profile.tpot_ms")),
            "the claim needs exactly two configs");
  EXPECT_EQ(note(claim_of(ClaimKind::ordered, {"A"}, "profile.tpot_ms")),
            "ordered needs two configs or more");
  EXPECT_EQ(note(claim_of(ClaimKind::better, {"A", "B"}, "perplexity.nll")),
            "the plan has no cell with perplexity.nll");
  EXPECT_NE(note(claim_of(ClaimKind::better, {"A", "B"}, "profile.decode_bytes")).find("neither"),
            std::string::npos);
  world.set(0, 0, "profile.tpot_ms", {1.0, 0.0});
  world.set(1, 0, "profile.tpot_ms", {1.0, 2.0});
  EXPECT_EQ(note(claim_of(ClaimKind::better, {"A", "B"}, "profile.tpot_ms")),
            "values are not positive and finite");
}

TEST(Claims, LaterOnesAreExploratory) {
  World world({"A", "B"}, one_quality_cell);
  quality_world(world);
  const std::vector<ClaimResult> results = judge_claims({better_nll, better_nll}, 1, world.obs);
  EXPECT_FALSE(results[0].exploratory);
  EXPECT_TRUE(results[1].exploratory);
}

TEST(Claims, BinaryItemsCarryMcNemar) {
  World world({"A", "B"}, {{"synthetic", "n1", "synthetic"}});
  world.set_items(0, 0, "synthetic.value", {{0, 0, 0, 0, 0, 0, 1, 1}, {}});
  world.set_items(1, 0, "synthetic.value", {{1, 1, 1, 1, 1, 1, 1, 0}, {}});
  const ClaimResult r =
      judge_one(claim_of(ClaimKind::better, {"A", "B"}, "synthetic.value"), world);
  // 1 and 6 discordant: 2 * (1 + 7) / 2^7 = 0.125.
  EXPECT_NE(r.note.find("McNemar exact p = 0.125 (1 and 6 discordant items)"), std::string::npos)
      << r.note;
}

// ---- the branch that no metric of today takes: differences over repeats

TEST(Compare, AdditiveRepeats) {
  const Comparison c = compare_repeats({1.0, 2.0, 3.0}, {2.0, 3.0, 4.0}, false);
  EXPECT_DOUBLE_EQ(c.difference, -1.0);
  EXPECT_DOUBLE_EQ(c.mean_a, 2.0);
  // se = sqrt(1/3 + 1/3), df = 4: t = -1.2247; P(T < t) = 0.14393.
  EXPECT_NEAR(c.p_less(0), 0.14393, 1e-5);
  EXPECT_NEAR(c.interval95().high, -1 + 2.7764 * 0.81650, 1e-4);
}

// ---- the noise floor

TEST(NoiseFloor, TakesTheFarEndOfTheInterval) {
  World world({"base", "copy"}, one_profile_cell);
  world.set(0, 0, "profile.tpot_ms", {10.0, 10.1, 10.2});
  world.set(1, 0, "profile.tpot_ms", {10.2, 10.3, 10.4});
  world.set(0, 0, "profile.weight_bytes", {100, 100, 100});
  world.set(1, 0, "profile.weight_bytes", {100, 100, 100});
  const std::vector<NoiseFloorRow> rows = noise_floor(world.obs, 0, 1);
  ASSERT_EQ(rows.size(), 2u);
  const NoiseFloorRow& tpot = rows[0];
  EXPECT_EQ(tpot.metric, "profile.tpot_ms");
  EXPECT_NEAR(tpot.relative_difference, 0.2 / 10.1, 1e-12);
  // In logs: d = 0.0196, se = 0.0080, df = 4 -> upper end near 0.0196 + 2.776 * 0.0080 = 0.0419.
  EXPECT_NEAR(tpot.floor, std::expm1(0.0419), 3e-4);
  EXPECT_EQ(tpot.n, 3);
  EXPECT_EQ(rows[1].floor, 0.0);
}

TEST(NoiseFloor, ZeroAgainstZeroIsNoNoise) {
  World world({"base", "copy"}, one_quality_cell);
  world.set_items(0, 0, "perplexity.kl", {{0, 0}, {1, 1}});
  world.set_items(1, 0, "perplexity.kl", {{0, 0}, {1, 1}});
  const std::vector<NoiseFloorRow> rows = noise_floor(world.obs, 0, 1);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].relative_difference, 0.0);
  EXPECT_EQ(rows[0].floor, 0.0);
}

}  // namespace
}  // namespace qsweep::reduce
