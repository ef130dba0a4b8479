// The study grammar: every class of fault with its place and message, short form = long form,
// defaults, sweeps, overrides, and resolved.yaml read back.
#include "sweep/grammar/study.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sweep/grammar/claims.hpp"
#include "sweep/grammar/configs.hpp"
#include "sweep/grammar/formats.hpp"
#include "sweep/grammar/options.hpp"
#include "sweep/grammar/workload_table.hpp"
#include "unit/sweep/study_text.hpp"

namespace qsweep::sweep {
namespace {

using namespace study_text;

const quant::QuantConfig& config_named(const Study& study, const std::string& name) {
  for (const auto& config : study.configs) {
    if (config.name == name) return config;
  }
  throw std::runtime_error("no config " + name);
}

quant::QuantConfig config_of(const std::string& body) {
  return config_named(parse_study(with_line(5, "  C1: " + body), "study.yaml"), "C1");
}

// resolved.yaml holds everything that a study means, so equal texts are equal studies.
std::string canonical(const quant::QuantConfig& config) {
  return grammar::config_yaml(config, 0);
}

TEST(Study, ShortFormsMeanTheirLongForms) {
  const std::pair<std::string, std::string> pairs[] = {
      {"{scope: mlp, weights: int8/channel}",
       "{scope: [mlp], weights: {format: int8, group: channel}}"},
      {"{scope: mlp, weights: fp8_e4m3/tensor}",
       "{scope: mlp, weights: {format: fp8_e4m3, group: tensor}}"},
      {"{scope: mlp, weights: int4/g128}",
       "{scope: mlp, weights: {format: int4, group: 128, symmetric: true, scale: fp32}}"},
      {"{scope: mlp, weights: nf4}",
       "{scope: mlp, weights: {format: nf4, group: 64, scale: fp32}}"},
      {"{scope: mlp, weights: nf4/g64/dq8}",
       "{scope: mlp, weights: {format: nf4, scale: {codec: dq8}}}"},
      {"{scope: mlp, weights: int4/g32/e5m3}",
       "{scope: mlp, weights: {format: int4, group: 32, scale: {codec: e5m3, sign: signed, "
       "rounding: published}}}"},
      {"{scope: mlp, weights: bf16}", "{scope: mlp, weights: {format: bf16}}"},
      {"{scope: mlp, activations: int8/token}",
       "{scope: mlp, activations: {format: int8, scale: token}}"},
      {"{scope: mlp, activations: int8/tensor}",
       "{scope: mlp, activations: {format: int8, scale: tensor}}"},
      {"{kv: int4/layer}", "{kv: {format: int4, axis: layer, keep: 1}}"},
      {"{kv: {format: int8, keep: 25%}}",
       "{kv: {format: int8, axis: head, keep: 0.25, by: key_norm}}"},
      {"{scope: mlp, weights: int4/g8, method: gptq}",
       "{scope: mlp, weights: int4/g8, method: {gptq: {damping: 0.01, act_order: false, block: "
       "128}}}"},
      {"{scope: mlp, weights: int4/g8, transforms: awq}",
       "{scope: mlp, weights: int4/g8, transforms: [{awq: {grid: 20}}]}"},
      {"{layers: {last 4: {kv: bf16}}}", "{layers: {last 4: {kv: {format: bf16, axis: head}}}}"},
      {"{}",
       "{scope: [], transforms: [], method: rtn, weights: none, activations: none, kv: none, "
       "layers: {}}"},
      {"", "{}"},
  };
  for (const auto& [brief, full] : pairs)
    EXPECT_EQ(canonical(config_of(brief)), canonical(config_of(full))) << brief;
}

TEST(Study, ScaleCodecsReadAsTheySay) {
  const auto codec = [](const std::string& text) {
    return config_of("{scope: mlp, weights: {format: int4, scale: " + text + "}}").weights->scale;
  };
  using quant::ScaleCodecId;
  EXPECT_EQ(codec("fp16"), (quant::ScaleCodec{ScaleCodecId::fp16}));
  EXPECT_EQ(codec("bf16"), (quant::ScaleCodec{ScaleCodecId::bf16}));
  EXPECT_EQ(codec("dq8"), (quant::ScaleCodec{ScaleCodecId::dq8}));
  EXPECT_EQ(codec("e5m10"), (quant::ScaleCodec{ScaleCodecId::e5m, 10}));
  const quant::ScaleCodec unsigned_up{ScaleCodecId::e5m, 0, false, quant::ScaleRounding::up};
  EXPECT_EQ(codec("{codec: e5m0, sign: unsigned, rounding: up}"), unsigned_up);
  EXPECT_EQ(codec("{codec: e5m0, sign: false, rounding: up}"), unsigned_up);
}

TEST(Study, LayerRanges) {
  const auto range = [](const std::string& key) { return grammar::parse_layers(key); };
  EXPECT_EQ(range("5")->first, 5);
  EXPECT_EQ(range("5")->last, 5);
  EXPECT_EQ(range("0-3")->last, 3);
  EXPECT_EQ(range("first 2")->last, 1);
  EXPECT_TRUE(range("last 4")->from_end);
  EXPECT_EQ(range("last 4")->last, 4);
  for (const char* key :
       {"", "last", "last 0", "first 0", "-1", "3-", "3-2", "1 2", "0x3", "last -4"}) {
    EXPECT_FALSE(range(key)) << key;
  }
}

TEST(Study, SweepsExpandInOrderAndNameTheirValues) {
  std::string text = with_line(
      5, "  C1: {sweep: {m: [0, 5], g: [32, 64]}, scope: mlp, weights: \"int4/g{g}/e5m{m}\"}");
  text.resize(text.find("claims:"));  // they name C1, which is no config now
  const Study study = parse_study(text, "s.yaml");
  std::vector<std::string> names;
  for (const auto& config : study.configs) names.push_back(config.name);
  EXPECT_EQ(names, (std::vector<std::string>{"C0", "C1_m0_g32", "C1_m0_g64", "C1_m5_g32",
                                             "C1_m5_g64", "C0_aa"}));
  EXPECT_EQ(config_named(study, "C1_m5_g32").weights->group, 32);
  EXPECT_EQ(config_named(study, "C1_m5_g32").weights->scale.mantissa_bits, 5);
}

TEST(Study, TheDuplicateOfTheBaselineStandsLast) {
  const Study study = parse_study(base_text(), "s.yaml");
  EXPECT_EQ(study.baseline, "C0");
  EXPECT_EQ(study.configs.back().name, "C0_aa");
  EXPECT_EQ(study.configs.back().duplicate_of, "C0");
  const Study without = parse_study(base_text() + "noise_floor: false\n", "s.yaml");
  EXPECT_EQ(without.configs.size(), 2u);
}

TEST(Study, TheBaselineIsTheFirstEmptyConfigElseTheFirst) {
  EXPECT_EQ(parse_study(with_line(4, "  Z: {kv: int8}\n  C0:"), "s.yaml").baseline, "C0");
  EXPECT_EQ(parse_study(with_line(4, "  C0: {kv: int8}"), "s.yaml").baseline, "C0");
  EXPECT_EQ(parse_study(base_text() + "baseline: C1\n", "s.yaml").baseline, "C1");
}

TEST(Study, CellsAreEveryCombinationOfLengths) {
  const Study study = parse_study(
      with_line(7, "  long: {kind: profile, prompt: [4, 8], output: [2, 3], repeats: 7}"),
      "s.yaml");
  const Workload& workload = study.workloads.at(0);
  EXPECT_EQ(workload.name, "long");
  EXPECT_EQ(workload.repeats, 7);
  std::vector<std::string> lengths;
  for (const auto& cell : workload.cells) lengths.push_back(cell.lengths);
  EXPECT_EQ(lengths, (std::vector<std::string>{"p4_o2", "p4_o3", "p8_o2", "p8_o3"}));
  EXPECT_EQ(std::get<eval::ProfileParams>(workload.cells[2].params).prompt, 8);
}

TEST(Study, LaterWorkloadsKeepTheirParameters) {
  const Study study = parse_study(with_line(8,
                                            "  perplexity: {data: x, window: 8, stride: 4}\n"
                                            "  tasks: [gsm8k, squad]\n"
                                            "  serving: {concurrency: [1, 4], requests: 9}\n"
                                            "  passkey: {lengths: [64, 128]}\n"
                                            "  drift: {length: 64, at: [8, 64]}\n"
                                            "  sensitivity: {by: [layer, module]}"),
                                  "s.yaml");
  std::vector<std::string> lengths;
  for (size_t w = 2; w < study.workloads.size(); ++w) {
    for (const auto& cell : study.workloads[w].cells) lengths.push_back(cell.lengths);
  }
  EXPECT_EQ(lengths, (std::vector<std::string>{"gsm8k", "squad", "c1_p512_o128", "c4_p512_o128",
                                               "n64", "n128", "n64", "layer", "module"}));
  EXPECT_EQ(grammar::params_of(study.workloads[3].cells[1]).at("requests"), 9);
  EXPECT_EQ(grammar::params_of(study.workloads[5].cells[0]).at("at"), nlohmann::json({8, 64}));
}

TEST(Study, ClaimsReadTheirMargins) {
  const auto claim = [](const std::string& body) {
    return parse_study(with_line(10, "  c: " + body), "s.yaml").claims.at(0);
  };
  const Claim relative = claim("{equivalent: [C0, C1], metric: perplexity.nll, within: 0.5%}");
  EXPECT_TRUE(relative.within_relative);
  EXPECT_DOUBLE_EQ(relative.within, 0.005);
  const Claim absolute =
      claim("{not_worse: [C0, C1], metric: perplexity.nll, within: 0.02, lengths: w8_s4}");
  EXPECT_FALSE(absolute.within_relative);
  EXPECT_DOUBLE_EQ(absolute.within, 0.02);
  EXPECT_EQ(absolute.lengths, "w8_s4");
  EXPECT_FALSE(claim("{ordered: [C0, C1, C0_aa], metric: profile.tpot_ms, direction: decreasing}")
                   .increasing);
}

TEST(Overrides, ChangeTheTreeBeforeItIsRead) {
  const Study study =
      parse_study(base_text(), "s.yaml",
                  {"repeats=5", "workloads.profile.warmup=3", "workloads.profile.prompt.1=16",
                   "configs.C0.scope=mlp", "configs.C0.weights={format: int4, group: 32}"});
  EXPECT_EQ(study.repeats.min, 5);
  EXPECT_EQ(std::get<eval::ProfileParams>(study.workloads[0].cells[1].params).warmup, 3);
  EXPECT_EQ(std::get<eval::ProfileParams>(study.workloads[0].cells[1].params).prompt, 16);
  EXPECT_EQ(config_named(study, "C0").weights->group, 32);
}

TEST(Resolved, ReadsBackToTheSameStudy) {
  const std::string text = R"(study: all
model: org/name@main
seed: 3
repeats: {min: 3, max: 10, until: {metric: profile.tpot_ms, ci95: 1.3%}}
calibration: {data: "my data, 'quoted'", samples: 4}
configs:
  base: {}
  a: {scope: [mlp, lm_head], weights: {format: int8, group: 64, symmetric: false, scale: bf16}, activations: int8/token}
  b: {sweep: {m: [0, 7]}, scope: mlp, weights: {format: int4, group: 32, scale: {codec: "e5m{m}", sign: unsigned, rounding: up}}}
  c: {scope: all_linear, transforms: [quarot, {smoothquant: {alpha: 0.3}}], method: {adaround: {lambda: 0.1}}, weights: nf4/g64/dq8}
  d: {kv: {format: int4, axis: token, keep: 10%, by: snapkv}, layers: {last 2: {kv: bf16}, 0-1: {kv: int8/layer}}}
  e: {sharer: {model: x/y, fuser: "z: w", kv: nf4}}
  f: {scope: mlp, weights: fp8_e4m3/tensor, layers: {3: {weights: bf16}}}
workloads:
  profile: {prompt: [4, 8], output: [2, 3]}
  wiki: {kind: perplexity, data: x.txt, protocol: disjoint, window: [8, 16], repeats: 2}
  perplexity: {data: x.txt, window: [8, 16], stride: [4, 8], reference: false, max_tokens: 99}
  synthetic: {seconds: 0.3, spread: 0.1, lengths: [1, 2]}
  tasks: {names: [gsm8k], shots: 5}
  serving: {concurrency: [1, 2]}
  passkey: {}
  drift: {length: 64, at: 8}
  sensitivity: {by: module}
claims:
  one: {equivalent: [a, base], metric: perplexity.nll, within: 0.7%}
  two: {ordered: [b_m7, b_m0], metric: perplexity.nll, direction: decreasing, lengths: w8_s4}
  three: {not_worse: [a, base], metric: profile.tpot_ms, within: 0.25}
  four: {better: [a, base], metric: tasks.accuracy}
)";
  const Study study = parse_study(text, "s.yaml");
  const std::string resolved = to_yaml(study);
  const Study again = parse_study(resolved, "resolved.yaml");
  EXPECT_EQ(to_yaml(again), resolved);
  ASSERT_EQ(again.configs.size(), study.configs.size());
  for (size_t i = 0; i < study.configs.size(); ++i) {
    EXPECT_EQ(again.configs[i].name, study.configs[i].name);
    EXPECT_EQ(quant::to_json(again.configs[i]), quant::to_json(study.configs[i]));
  }
  for (size_t w = 0; w < study.workloads.size(); ++w) {
    ASSERT_EQ(again.workloads[w].cells.size(), study.workloads[w].cells.size());
    for (size_t k = 0; k < study.workloads[w].cells.size(); ++k) {
      EXPECT_EQ(eval::to_json(again.workloads[w].cells[k]),
                eval::to_json(study.workloads[w].cells[k]));
    }
  }
  for (size_t i = 0; i < study.claims.size(); ++i)
    EXPECT_EQ(again.claims[i].within, study.claims[i].within);
  EXPECT_EQ(again.repeats.until_ci95, study.repeats.until_ci95);
}

// The documentation names every key of the grammar's own tables.
TEST(Readme, NamesEveryKey) {
  std::ifstream file(std::string(QSWEEP_SOURCE_DIR) + "/configs/README.md");
  std::ostringstream stream;
  stream << file.rdbuf();
  const std::string readme = stream.str();
  ASSERT_FALSE(readme.empty());
  std::vector<std::string> words;
  const auto add = [&words](const auto& list) {
    words.insert(words.end(), list.begin(), list.end());
  };
  for (const auto& list : {grammar::config_keys(), grammar::weight_keys(), grammar::scale_keys(),
                           grammar::activation_keys(), grammar::kv_keys(), grammar::keep_rules(),
                           grammar::sharer_keys(), grammar::claim_keys()}) {
    add(list);
  }
  add(all_names<quant::FormatId>());
  add(all_names<quant::Scope>());
  add(all_names<quant::MethodId>());
  add(all_names<quant::TransformId>());
  add(all_names<quant::ScaleRounding>());
  for (const auto& option : grammar::option_table()) words.emplace_back(option.key);
  for (const auto& [kind, name] : enum_names<eval::WorkloadKind>) {
    words.emplace_back(name);
    for (const auto& field : grammar::kind_info(kind).fields) words.emplace_back(field.key);
  }
  for (const std::string& word : words) {
    const bool named = readme.find("`" + word + "`") != std::string::npos ||
                       readme.find("." + word + "`") != std::string::npos;
    EXPECT_TRUE(named) << "configs/README.md does not name `" << word << "`";
  }
}

}  // namespace
}  // namespace qsweep::sweep
