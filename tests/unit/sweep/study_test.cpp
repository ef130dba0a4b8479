// The study grammar: every class of fault with its place and message, short form = long form, defaults, sweeps,
// overrides, and resolved.yaml read back.
#include "sweep/study.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"
#include "sweep/grammar/claims.hpp"
#include "sweep/grammar/configs.hpp"
#include "sweep/grammar/formats.hpp"
#include "sweep/grammar/options.hpp"
#include "sweep/grammar/workload_table.hpp"

namespace qsweep::sweep {
namespace {

// A whole study; tests replace single lines of it, so that places are easy to count.
const std::vector<std::string> base_lines = {
    "study: tiny",                                                     // 1
    "model: some/model",                                               // 2
    "configs:",                                                        // 3
    "  C0: {}",                                                        // 4
    "  C1: {scope: mlp, weights: int4/g128}",                          // 5
    "workloads:",                                                      // 6
    "  profile: {prompt: [4, 8], output: 2}",                          // 7
    "  perplexity: {data: x.txt, window: 8, stride: 4}",               // 8
    "claims:",                                                         // 9
    "  same: {equivalent: [C0, C1], metric: perplexity.nll, within: 1%}",  // 10
};

std::string with_line(size_t number, const std::string& line) {
  std::string text;
  for (size_t i = 0; i < base_lines.size(); ++i) text += (i + 1 == number ? line : base_lines[i]) + "\n";
  return text;
}
std::string base_text() { return with_line(0, ""); }

std::string faults_of(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  try {
    (void)parse_study(yaml, "study.yaml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
    return error.what();
  }
  return "";
}

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
std::string canonical(const quant::QuantConfig& config) { return grammar::config_yaml(config, 0); }

struct FaultCase {
  std::string name;
  size_t line;
  std::string text;      // replaces that line
  std::string expected;  // begins one line of the message
};
void PrintTo(const FaultCase& fault, std::ostream* out) { *out << fault.name; }

class FaultTest : public testing::TestWithParam<FaultCase> {};

TEST_P(FaultTest, IsToldWithItsPlace) {
  const std::string told = faults_of(with_line(GetParam().line, GetParam().text));
  EXPECT_NE(("\n" + told).find("\n" + GetParam().expected), std::string::npos)
      << "expected: " << GetParam().expected << "\ntold: " << told;
}

const FaultCase fault_cases[] = {
    {"unknown_top_key", 2, "model: m\nsed: 4", "study.yaml:3:1: the study has no key 'sed' did you mean 'seed'?"},
    {"unsafe_study", 1, "study: ../x", "study.yaml:1:8: study '../x' cannot name a folder"},
    {"missing_model", 2, "", "study.yaml:1:1: the study lacks the key 'model'"},
    {"model_none", 2, "model: none", "study.yaml:2:8: model: none, but the workload profile needs one"},
    {"misspelt_config_key", 5, "  C1: {scop: mlp, weights: int4/g128}",
     "study.yaml:5:8: config C1 has no key 'scop' did you mean 'scope'?"},
    {"unknown_scope", 5, "  C1: {scope: atention, weights: int4/g128}",
     "study.yaml:5:15: config C1.scope cannot be 'atention' did you mean 'attention'?"},
    {"scope_twice", 5, "  C1: {scope: [mlp, mlp], weights: int4/g128}",
     "study.yaml:5:21: config C1.scope names mlp twice"},
    {"no_scope", 5, "  C1: {weights: int4/g128}", "study.yaml:5:7: config C1 has formats but no scope"},
    {"no_formats", 5, "  C1: {scope: mlp}", "study.yaml:5:15: config C1 has a scope but no formats"},
    {"unknown_format", 5, "  C1: {scope: mlp, weights: int5/g128}",
     "study.yaml:5:29: config C1.weights cannot be 'int5' did you mean 'int"},
    {"group_without_g", 5, "  C1: {scope: mlp, weights: int4/128}",
     "study.yaml:5:29: config C1.weights group cannot be '128'"},
    {"group_zero", 5, "  C1: {scope: mlp, weights: {format: int4, group: 0}}",
     "study.yaml:5:51: config C1.weights.group (or channel, tensor) should be a whole number from 1 to 1048576 (found '0')"},
    {"group_negative", 5, "  C1: {scope: mlp, weights: int4/g-1}",
     "study.yaml:5:29: config C1.weights group should be a whole number"},
    {"unknown_codec", 5, "  C1: {scope: mlp, weights: int4/g128/e5m11}",
     "study.yaml:5:29: config C1.weights scale cannot be 'e5m11' did you mean 'e5m1'?"},
    {"too_many_parts", 5, "  C1: {scope: mlp, weights: int4/g128/e5m5/x}",
     "study.yaml:5:29: config C1.weights has too many parts"},
    {"sign_of_fp16", 5, "  C1: {scope: mlp, weights: {format: int4, scale: {codec: fp16, sign: unsigned}}}",
     "study.yaml:5:71: config C1.weights.scale: sign and rounding belong to e5mK alone"},
    {"group_of_bf16", 5, "  C1: {scope: mlp, weights: bf16/g128}",
     "study.yaml:5:29: config C1.weights: bf16 has no groups and no scales"},
    {"unknown_method", 5, "  C1: {scope: mlp, weights: int4/g128, method: gptqq}",
     "study.yaml:5:48: config C1.method cannot be 'gptqq' did you mean 'gptq'?"},
    {"unknown_option", 5, "  C1: {scope: mlp, weights: int4/g128, method: {gptq: {dampning: 1}}}",
     "study.yaml:5:56: config C1.method.gptq has no key 'dampning' did you mean 'damping'?"},
    {"option_range", 5, "  C1: {scope: mlp, weights: int4/g128, method: {gptq: {damping: 7}}}",
     "study.yaml:5:65: config C1.method.gptq.damping should be a number from 1e-06 to 1 (found '7')"},
    {"unknown_transform", 5, "  C1: {scope: mlp, weights: int4/g128, transforms: [smothquant]}",
     "study.yaml:5:53: config C1.transforms cannot be 'smothquant' did you mean 'smoothquant'?"},
    {"unknown_activation", 5, "  C1: {scope: mlp, activations: int8/row}",
     "study.yaml:5:33: config C1.activations cannot be 'row' choose one of token, tensor"},
    {"keep_zero", 5, "  C1: {kv: {format: int8, keep: 0}}",
     "study.yaml:5:33: config C1.kv.keep should be a number from 0.001 to 1, or a percentage (found '0')"},
    {"keep_nan", 5, "  C1: {kv: {format: int8, keep: nan}}", "study.yaml:5:33: config C1.kv.keep should be a number"},
    {"keep_above_all", 5, "  C1: {kv: {format: int8, keep: 250%}}",
     "study.yaml:5:33: config C1.kv.keep should be a number"},
    {"layers_word", 5, "  C1: {layers: {lasst 4: {kv: bf16}}}",
     "study.yaml:5:17: config C1.layers 'lasst 4' names no layers"},
    {"layers_backwards", 5, "  C1: {layers: {5-2: {kv: bf16}}}", "study.yaml:5:17: config C1.layers '5-2' names no layers"},
    {"layers_empty", 5, "  C1: {layers: {5: {}}}", "study.yaml:5:17: config C1.layers '5' changes nothing"},
    {"sharer_without_fuser", 5, "  C1: {sharer: {model: a}}",
     "study.yaml:5:16: config C1.sharer lacks the key 'fuser'"},
    {"unsafe_config_name", 5, "  ../C1: {}", "study.yaml:5:3: config name '../C1' cannot name a folder"},
    {"duplicate_config", 5, "  C0: {}", "study.yaml:5:3: 'C0' stands twice in one map (first at line 4)"},
    {"sweep_unused", 5, "  C1: {sweep: {m: [0, 3]}, scope: mlp, weights: int4/g128}",
     "study.yaml:5:16: config C1.sweep: nothing uses the variable m"},
    {"sweep_unknown", 5, "  C1: {sweep: {m: [0]}, scope: mlp, weights: \"int4/g128/e5m{k}\"}",
     "study.yaml:5:46: config C1: unknown variable in 'int4/g128/e5m{k}'"},
    {"sweep_twice", 5, "  C1: {sweep: {m: [3, 3]}, scope: mlp, weights: \"int4/g128/e5m{m}\"}",
     "study.yaml:5:23: config C1.sweep.m has 3 twice"},
    {"wrong_type", 5, "  C1: [mlp]", "study.yaml:5:7: config C1 should be a map (found a list)"},
    {"unknown_workload", 7, "  profil: {prompt: 4}",
     "study.yaml:7:3: workload profil is no kind of workload did you mean 'profile'?"},
    {"unknown_kind", 7, "  p: {kind: prefill}", "study.yaml:7:13: workload p.kind cannot be 'prefill'"},
    {"unknown_workload_key", 7, "  profile: {promt: 4}",
     "study.yaml:7:13: workload profile has no key 'promt' did you mean 'prompt'?"},
    {"prompt_zero", 7, "  profile: {prompt: 0}",
     "study.yaml:7:21: workload profile.prompt should be a whole number from 1 to 16777216 (found '0')"},
    {"prompt_huge", 7, "  profile: {prompt: 99999999999999999999}",
     "study.yaml:7:21: workload profile.prompt should be a whole number"},
    {"prompt_fraction", 7, "  profile: {prompt: 4.5}", "study.yaml:7:21: workload profile.prompt should be a whole number"},
    {"prompt_twice", 7, "  profile: {prompt: [4, 4]}", "study.yaml:7:25: workload profile.prompt has '4' twice"},
    {"empty_list", 7, "  profile: {prompt: []}", "study.yaml:7:21: workload profile.prompt should be a value or a list"},
    {"stride_beyond_window", 8, "  perplexity: {data: x, window: 8, stride: 9}",
     "study.yaml:8:44: workload perplexity.stride 9 is longer than the window 8"},
    {"stride_of_disjoint", 8, "  perplexity: {data: x, protocol: disjoint, window: 8, stride: 4}",
     "study.yaml:8:64: workload perplexity.stride has no meaning under disjoint"},
    {"unknown_task", 8, "  perplexity: {data: x, window: 8, stride: 4}\n  tasks: [helaswag]",
     "study.yaml:9:11: workload tasks.names cannot be 'helaswag' did you mean 'hellaswag'?"},
    {"flag", 8, "  perplexity: {data: x, window: 8, stride: 4, reference: yes}",
     "study.yaml:8:58: workload perplexity.reference should be true or false (found 'yes')"},
    {"drift_beyond", 8, "  perplexity: {data: x, window: 8, stride: 4}\n  drift: {length: 64, at: [8, 128]}",
     "study.yaml:9:10: workload drift.at has 128 beyond the length 64"},
    {"claim_config", 10, "  same: {equivalent: [C0, C2], metric: perplexity.nll, within: 1%}",
     "study.yaml:10:27: claim same names the unknown config 'C2' did you mean 'C0'?"},
    {"claim_twice", 10, "  same: {equivalent: [C0, C0], metric: perplexity.nll, within: 1%}",
     "study.yaml:10:27: claim same names C0 twice"},
    {"claim_metric", 10, "  same: {equivalent: [C0, C1], metric: perplexity.nil, within: 1%}",
     "study.yaml:10:40: claim same: unknown metric 'perplexity.nil' did you mean 'perplexity.nll'?"},
    {"claim_metric_unmeasured", 10, "  same: {equivalent: [C0, C1], metric: synthetic.value, within: 1%}",
     "study.yaml:10:40: claim same: no workload measures synthetic.value"},
    {"claim_no_margin", 10, "  same: {equivalent: [C0, C1], metric: perplexity.nll}",
     "study.yaml:10:9: claim same lacks the key 'within'"},
    {"claim_three", 10, "  same: {better: [C0, C1, C0_aa], metric: perplexity.nll}",
     "study.yaml:10:18: claim same.better compares two configs (found 3)"},
    {"claim_two_kinds", 10, "  same: {better: [C0, C1], not_worse: [C0, C1], metric: perplexity.nll}",
     "study.yaml:10:28: claim same has two verdicts to reach"},
    {"claim_none", 10, "  same: {metric: perplexity.nll}", "study.yaml:10:9: claim same claims nothing"},
    {"claim_direction", 10, "  same: {better: [C0, C1], metric: perplexity.nll, direction: increasing}",
     "study.yaml:10:63: claim same: direction belongs to ordered"},
    {"claim_sense", 10, "  same: {better: [C0, C1], metric: perplexity.tokens}",
     "study.yaml:10:36: claim same: perplexity.tokens is neither better low nor high"},
    {"claim_lengths", 10, "  same: {better: [C0, C1], metric: profile.tpot_ms, lengths: p4_o3}",
     "study.yaml:10:62: claim same: no cell has the lengths 'p4_o3' did you mean 'p4_o2'?"},
    {"repeats_word", 2, "model: m\nrepeats: three",
     "study.yaml:3:10: repeats should be a whole number from 1 to 100000 (found 'three')"},
    {"repeats_backwards", 2, "model: m\nrepeats: {min: 5, max: 3}", "study.yaml:3:24: repeats.max is below repeats.min"},
    {"repeats_without_until", 2, "model: m\nrepeats: {min: 3, max: 5}", "study.yaml:3:10: repeats lacks the key 'until'"},
    {"until_metric", 2, "model: m\nrepeats: {min: 3, max: 5, until: {metric: profile.tpot, ci95: 1%}}",
     "study.yaml:3:43: repeats.until: unknown metric 'profile.tpot'"},
    {"baseline", 2, "model: m\nbaseline: C9", "study.yaml:3:11: the baseline 'C9' is no config of this study"},
    {"seed_negative", 2, "model: m\nseed: -1", "study.yaml:3:7: seed should be a whole number"},
    {"noise_floor_taken", 5, "  C0_aa: {}", "study.yaml:4:3: a config is named C0_aa"},
    {"calibration", 2, "model: m\ncalibration: {samples: 4}", "study.yaml:3:14: calibration lacks the key 'data'"},
    {"anchor", 5, "  C1: &x {scope: mlp, weights: int4/g128}", "study.yaml:5:7: an anchor"},
    {"tag", 2, "model: !!python/object m", "study.yaml:2:8: a type tag"},
    {"not_yaml", 5, "  C1: {scope: mlp", "study.yaml:"},
    {"second_document", 10, "---\nstudy: two", "study.yaml:11:1: a second document"},
    {"control_character", 2, "model: a\x01", "study.yaml:2: not a text (a control character)"},
    {"no_utf8", 2, "model: a\xff", "study.yaml: not a text (bytes that are no UTF-8)"},
    {"escaped_control", 2, "model: \"a\\e[31m\"", "study.yaml:2:8: model should be a text of 1 to 1024 bytes (found 'a?[31m')"},
};

INSTANTIATE_TEST_SUITE_P(Each, FaultTest, testing::ValuesIn(fault_cases),
                         [](const auto& each) { return each.param.name; });

TEST(Study, BaseTextHasNoFault) { EXPECT_EQ(faults_of(base_text()), ""); }

TEST(Study, EveryFaultIsToldAtOnceInOrder) {
  std::string text = with_line(5, "  C1: {scop: mlp, weights: int9}");
  text = text.replace(text.find("output"), 6, "ouptut");
  const std::string told = faults_of(text);
  const size_t a = told.find(":5:8:"), b = told.find(":5:28:"), c = told.find(":7:29:");
  ASSERT_NE(c, std::string::npos) << told;
  EXPECT_LT(a, b);
  EXPECT_LT(b, c);
}

TEST(Study, AliasesAreRefused) {
  std::string bomb = "a: &a [x, x]\n";
  for (char c = 'b'; c < 'j'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [*" + static_cast<char>(c - 1) + ", *" + static_cast<char>(c - 1) + "]\n";
  }
  EXPECT_NE(faults_of(bomb).find("an alias"), std::string::npos);
}

TEST(Study, DepthAndSizeAreBounded) {
  EXPECT_NE(faults_of("study: " + std::string(40, '[') + std::string(40, ']')).find("nested too deeply"),
            std::string::npos);
  EXPECT_NE(faults_of("study: " + std::string(100000, '[')).find("nested too deeply"), std::string::npos);
  EXPECT_NE(faults_of("study: " + std::string(1 << 20, 'a')).find("too large"), std::string::npos);
}

TEST(Study, ConfigsAndCellsAreBounded) {
  std::string list;
  for (int i = 0; i < 200; ++i) list += (i > 0 ? ", " : "") + std::to_string(i + 1);
  const std::string lists = "{a: [" + list + "], b: [" + list + "]}";
  EXPECT_NE(faults_of(with_line(5, "  C1: {sweep: " + lists + ", scope: mlp, weights: \"int4/g{a}{b}\"}"))
                .find("too many combinations"),
            std::string::npos);
  EXPECT_NE(faults_of(with_line(7, "  profile: {prompt: [" + list + "], output: [" + list + "]}"))
                .find("too many combinations of lengths"),
            std::string::npos);
}

TEST(Study, EmptyAndForeignTextsAreFaults) {
  EXPECT_NE(faults_of("").find("lacks the key 'study'"), std::string::npos);
  EXPECT_NE(faults_of("[1, 2]").find("should be a map"), std::string::npos);
  EXPECT_NE(faults_of(": :\n- -").find("study.yaml"), std::string::npos);
}

TEST(Study, ShortFormsMeanTheirLongForms) {
  const std::pair<std::string, std::string> pairs[] = {
      {"{scope: mlp, weights: int8/channel}", "{scope: [mlp], weights: {format: int8, group: channel}}"},
      {"{scope: mlp, weights: fp8_e4m3/tensor}", "{scope: mlp, weights: {format: fp8_e4m3, group: tensor}}"},
      {"{scope: mlp, weights: int4/g128}", "{scope: mlp, weights: {format: int4, group: 128, symmetric: true, scale: fp32}}"},
      {"{scope: mlp, weights: nf4}", "{scope: mlp, weights: {format: nf4, group: 64, scale: fp32}}"},
      {"{scope: mlp, weights: nf4/g64/dq8}", "{scope: mlp, weights: {format: nf4, scale: {codec: dq8}}}"},
      {"{scope: mlp, weights: int4/g32/e5m3}",
       "{scope: mlp, weights: {format: int4, group: 32, scale: {codec: e5m3, sign: signed, rounding: published}}}"},
      {"{scope: mlp, weights: bf16}", "{scope: mlp, weights: {format: bf16}}"},
      {"{scope: mlp, activations: int8/token}", "{scope: mlp, activations: {format: int8, scale: token}}"},
      {"{scope: mlp, activations: int8/tensor}", "{scope: mlp, activations: {format: int8, scale: tensor}}"},
      {"{kv: int4/layer}", "{kv: {format: int4, axis: layer, keep: 1}}"},
      {"{kv: {format: int8, keep: 25%}}", "{kv: {format: int8, axis: head, keep: 0.25, by: key_norm}}"},
      {"{scope: mlp, weights: int4/g8, method: gptq}",
       "{scope: mlp, weights: int4/g8, method: {gptq: {damping: 0.01, act_order: false, block: 128}}}"},
      {"{scope: mlp, weights: int4/g8, transforms: awq}", "{scope: mlp, weights: int4/g8, transforms: [{awq: {grid: 20}}]}"},
      {"{layers: {last 4: {kv: bf16}}}", "{layers: {last 4: {kv: {format: bf16, axis: head}}}}"},
      {"{}", "{scope: [], transforms: [], method: rtn, weights: none, activations: none, kv: none, layers: {}}"},
      {"", "{}"},
  };
  for (const auto& [brief, full] : pairs) EXPECT_EQ(canonical(config_of(brief)), canonical(config_of(full))) << brief;
}

TEST(Study, ScaleCodecsReadAsTheySay) {
  const auto codec = [](const std::string& text) { return config_of("{scope: mlp, weights: {format: int4, scale: " + text + "}}").weights->scale; };
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
  for (const char* key : {"", "last", "last 0", "first 0", "-1", "3-", "3-2", "1 2", "0x3", "last -4"}) {
    EXPECT_FALSE(range(key)) << key;
  }
}

TEST(Study, SweepsExpandInOrderAndNameTheirValues) {
  std::string text = with_line(5, "  C1: {sweep: {m: [0, 5], g: [32, 64]}, scope: mlp, weights: \"int4/g{g}/e5m{m}\"}");
  text.resize(text.find("claims:"));  // they name C1, which is no config now
  const Study study = parse_study(text, "s.yaml");
  std::vector<std::string> names;
  for (const auto& config : study.configs) names.push_back(config.name);
  EXPECT_EQ(names, (std::vector<std::string>{"C0", "C1_m0_g32", "C1_m0_g64", "C1_m5_g32", "C1_m5_g64", "C0_aa"}));
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
  const Study study = parse_study(with_line(7, "  long: {kind: profile, prompt: [4, 8], output: [2, 3], repeats: 7}"), "s.yaml");
  const Workload& workload = study.workloads.at(0);
  EXPECT_EQ(workload.name, "long");
  EXPECT_EQ(workload.repeats, 7);
  std::vector<std::string> lengths;
  for (const auto& cell : workload.cells) lengths.push_back(cell.lengths);
  EXPECT_EQ(lengths, (std::vector<std::string>{"p4_o2", "p4_o3", "p8_o2", "p8_o3"}));
  EXPECT_EQ(std::get<eval::ProfileParams>(workload.cells[2].params).prompt, 8);
}

TEST(Study, LaterWorkloadsKeepTheirParameters) {
  const Study study = parse_study(
      with_line(8, "  perplexity: {data: x, window: 8, stride: 4}\n"
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
  EXPECT_EQ(lengths, (std::vector<std::string>{"gsm8k", "squad", "c1_p512_o128", "c4_p512_o128", "n64", "n128", "n64",
                                               "layer", "module"}));
  EXPECT_EQ(grammar::params_of(study.workloads[3].cells[1]).at("requests"), 9);
  EXPECT_EQ(grammar::params_of(study.workloads[5].cells[0]).at("at"), nlohmann::json({8, 64}));
}

TEST(Study, ClaimsReadTheirMargins) {
  const auto claim = [](const std::string& body) { return parse_study(with_line(10, "  c: " + body), "s.yaml").claims.at(0); };
  const Claim relative = claim("{equivalent: [C0, C1], metric: perplexity.nll, within: 0.5%}");
  EXPECT_TRUE(relative.within_relative);
  EXPECT_DOUBLE_EQ(relative.within, 0.005);
  const Claim absolute = claim("{not_worse: [C0, C1], metric: perplexity.nll, within: 0.02, lengths: w8_s4}");
  EXPECT_FALSE(absolute.within_relative);
  EXPECT_DOUBLE_EQ(absolute.within, 0.02);
  EXPECT_EQ(absolute.lengths, "w8_s4");
  EXPECT_FALSE(claim("{ordered: [C0, C1, C0_aa], metric: profile.tpot_ms, direction: decreasing}").increasing);
}

TEST(Overrides, ChangeTheTreeBeforeItIsRead) {
  const Study study = parse_study(base_text(), "s.yaml",
                                  {"repeats=5", "workloads.profile.warmup=3", "workloads.profile.prompt.1=16",
                                   "configs.C0.scope=mlp", "configs.C0.weights={format: int4, group: 32}"});
  EXPECT_EQ(study.repeats.min, 5);
  EXPECT_EQ(std::get<eval::ProfileParams>(study.workloads[0].cells[1].params).warmup, 3);
  EXPECT_EQ(std::get<eval::ProfileParams>(study.workloads[0].cells[1].params).prompt, 16);
  EXPECT_EQ(config_named(study, "C0").weights->group, 32);
}

TEST(Overrides, BadOnesAreFaults) {
  const std::pair<std::string, std::string> cases[] = {
      {"repeats", "--set repeats: not an override"},
      {"=5", "--set =5: not an override"},
      {"workload.profile.warmup=2", "there is no 'workload' in the study (an override changes what is there) did you mean 'workloads'?"},
      {"workloads.profile.wamup=2", "--set workloads.profile.wamup=2: workload profile has no key 'wamup' did you mean 'warmup'?"},
      {"configs.C1.weights.group=64", "'group' leads nowhere (found 'int4/g128')"},
      {"workloads.profile.prompt.2=64", "'2' leads nowhere (found a list)"},
      {"repeats=many", "--set repeats=many: repeats should be a whole number"},
      {"repeats=[", "--set repeats=[: not YAML"},
  };
  for (const auto& [assignment, expected] : cases) {
    const std::string told = faults_of(base_text(), {assignment});
    EXPECT_NE(told.find(expected), std::string::npos) << assignment << "\n" << told;
  }
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
      EXPECT_EQ(eval::to_json(again.workloads[w].cells[k]), eval::to_json(study.workloads[w].cells[k]));
    }
  }
  for (size_t i = 0; i < study.claims.size(); ++i) EXPECT_EQ(again.claims[i].within, study.claims[i].within);
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
  const auto add = [&words](const auto& list) { words.insert(words.end(), list.begin(), list.end()); };
  for (const auto& list : {grammar::config_keys(), grammar::weight_keys(), grammar::scale_keys(), grammar::activation_keys(),
                           grammar::kv_keys(), grammar::keep_rules(), grammar::sharer_keys(), grammar::claim_keys()}) {
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
    const bool named = readme.find("`" + word + "`") != std::string::npos || readme.find("." + word + "`") != std::string::npos;
    EXPECT_TRUE(named) << "configs/README.md does not name `" << word << "`";
  }
}

}  // namespace
}  // namespace qsweep::sweep
