// The study grammar refuses: every class of fault with its place and message, bounds, overrides
// that lead nowhere.
#include <gtest/gtest.h>

#include "unit/sweep/study_text.hpp"

namespace qsweep::sweep {
namespace {

using namespace study_text;

struct FaultCase {
  std::string name;
  size_t line;
  std::string text;      // replaces that line
  std::string expected;  // begins one line of the message
};
void PrintTo(const FaultCase& fault, std::ostream* out) {
  *out << fault.name;
}

class FaultTest : public testing::TestWithParam<FaultCase> {};

TEST_P(FaultTest, IsToldWithItsPlace) {
  const std::string told = faults_of(with_line(GetParam().line, GetParam().text));
  EXPECT_NE(("\n" + told).find("\n" + GetParam().expected), std::string::npos)
      << "expected: " << GetParam().expected << "\ntold: " << told;
}

const FaultCase fault_cases[] = {
    {"unknown_top_key", 2, "model: m\nsed: 4",
     "study.yaml:3:1: the study has no key 'sed' did you mean 'seed'?"},
    {"unsafe_study", 1, "study: ../x", "study.yaml:1:8: study '../x' cannot name a folder"},
    {"missing_model", 2, "", "study.yaml:1:1: the study lacks the key 'model'"},
    {"model_none", 2, "model: none",
     "study.yaml:2:8: model: none, but the workload profile needs one"},
    {"misspelt_config_key", 5, "  C1: {scop: mlp, weights: int4/g128}",
     "study.yaml:5:8: config C1 has no key 'scop' did you mean 'scope'?"},
    {"unknown_scope", 5, "  C1: {scope: atention, weights: int4/g128}",
     "study.yaml:5:15: config C1.scope cannot be 'atention' did you mean 'attention'?"},
    {"scope_twice", 5, "  C1: {scope: [mlp, mlp], weights: int4/g128}",
     "study.yaml:5:21: config C1.scope names mlp twice"},
    {"no_scope", 5, "  C1: {weights: int4/g128}",
     "study.yaml:5:7: config C1 has formats but no scope"},
    {"no_formats", 5, "  C1: {scope: mlp}",
     "study.yaml:5:15: config C1 has a scope but no formats"},
    {"unknown_format", 5, "  C1: {scope: mlp, weights: int5/g128}",
     "study.yaml:5:29: config C1.weights cannot be 'int5' did you mean 'int"},
    {"group_without_g", 5, "  C1: {scope: mlp, weights: int4/128}",
     "study.yaml:5:29: config C1.weights group cannot be '128'"},
    {"group_zero", 5, "  C1: {scope: mlp, weights: {format: int4, group: 0}}",
     "study.yaml:5:51: config C1.weights.group (or channel, tensor) should be a whole number from "
     "1 to 1048576 (found '0')"},
    {"group_negative", 5, "  C1: {scope: mlp, weights: int4/g-1}",
     "study.yaml:5:29: config C1.weights group should be a whole number"},
    {"unknown_codec", 5, "  C1: {scope: mlp, weights: int4/g128/e5m11}",
     "study.yaml:5:29: config C1.weights scale cannot be 'e5m11' did you mean 'e5m1'?"},
    {"too_many_parts", 5, "  C1: {scope: mlp, weights: int4/g128/e5m5/x}",
     "study.yaml:5:29: config C1.weights has too many parts"},
    {"sign_of_fp16", 5,
     "  C1: {scope: mlp, weights: {format: int4, scale: {codec: fp16, sign: unsigned}}}",
     "study.yaml:5:71: config C1.weights.scale: sign and rounding belong to e5mK alone"},
    {"group_of_bf16", 5, "  C1: {scope: mlp, weights: bf16/g128}",
     "study.yaml:5:29: config C1.weights: bf16 has no groups and no scales"},
    {"unknown_method", 5, "  C1: {scope: mlp, weights: int4/g128, method: gptqq}",
     "study.yaml:5:48: config C1.method cannot be 'gptqq' did you mean 'gptq'?"},
    {"unknown_option", 5, "  C1: {scope: mlp, weights: int4/g128, method: {gptq: {dampning: 1}}}",
     "study.yaml:5:56: config C1.method.gptq has no key 'dampning' did you mean 'damping'?"},
    {"option_range", 5, "  C1: {scope: mlp, weights: int4/g128, method: {gptq: {damping: 7}}}",
     "study.yaml:5:65: config C1.method.gptq.damping should be a number from 1e-06 to 1 (found "
     "'7')"},
    {"unknown_transform", 5, "  C1: {scope: mlp, weights: int4/g128, transforms: [smothquant]}",
     "study.yaml:5:53: config C1.transforms cannot be 'smothquant' did you mean 'smoothquant'?"},
    {"unknown_activation", 5, "  C1: {scope: mlp, activations: int8/row}",
     "study.yaml:5:33: config C1.activations cannot be 'row' choose one of token, tensor"},
    {"keep_zero", 5, "  C1: {kv: {format: int8, keep: 0}}",
     "study.yaml:5:33: config C1.kv.keep should be a number from 0.001 to 1, or a percentage "
     "(found '0')"},
    {"keep_nan", 5, "  C1: {kv: {format: int8, keep: nan}}",
     "study.yaml:5:33: config C1.kv.keep should be a number"},
    {"keep_above_all", 5, "  C1: {kv: {format: int8, keep: 250%}}",
     "study.yaml:5:33: config C1.kv.keep should be a number"},
    {"layers_word", 5, "  C1: {layers: {lasst 4: {kv: bf16}}}",
     "study.yaml:5:17: config C1.layers 'lasst 4' names no layers"},
    {"layers_backwards", 5, "  C1: {layers: {5-2: {kv: bf16}}}",
     "study.yaml:5:17: config C1.layers '5-2' names no layers"},
    {"layers_empty", 5, "  C1: {layers: {5: {}}}",
     "study.yaml:5:17: config C1.layers '5' changes nothing"},
    {"sharer_without_fuser", 5, "  C1: {sharer: {model: a}}",
     "study.yaml:5:16: config C1.sharer lacks the key 'fuser'"},
    {"unsafe_config_name", 5, "  ../C1: {}",
     "study.yaml:5:3: config name '../C1' cannot name a folder"},
    {"duplicate_config", 5, "  C0: {}",
     "study.yaml:5:3: 'C0' stands twice in one map (first at line 4)"},
    {"sweep_unused", 5, "  C1: {sweep: {m: [0, 3]}, scope: mlp, weights: int4/g128}",
     "study.yaml:5:16: config C1.sweep: nothing uses the variable m"},
    {"sweep_unknown", 5, "  C1: {sweep: {m: [0]}, scope: mlp, weights: \"int4/g128/e5m{k}\"}",
     "study.yaml:5:46: config C1: unknown variable in 'int4/g128/e5m{k}'"},
    {"sweep_twice", 5, "  C1: {sweep: {m: [3, 3]}, scope: mlp, weights: \"int4/g128/e5m{m}\"}",
     "study.yaml:5:23: config C1.sweep.m has 3 twice"},
    {"wrong_type", 5, "  C1: [mlp]", "study.yaml:5:7: config C1 should be a map (found a list)"},
    {"unknown_workload", 7, "  profil: {prompt: 4}",
     "study.yaml:7:3: workload profil is no kind of workload did you mean 'profile'?"},
    {"unknown_kind", 7, "  p: {kind: prefill}",
     "study.yaml:7:13: workload p.kind cannot be 'prefill'"},
    {"unknown_workload_key", 7, "  profile: {promt: 4}",
     "study.yaml:7:13: workload profile has no key 'promt' did you mean 'prompt'?"},
    {"prompt_zero", 7, "  profile: {prompt: 0}",
     "study.yaml:7:21: workload profile.prompt should be a whole number from 1 to 16777216 (found "
     "'0')"},
    {"prompt_huge", 7, "  profile: {prompt: 99999999999999999999}",
     "study.yaml:7:21: workload profile.prompt should be a whole number"},
    {"prompt_fraction", 7, "  profile: {prompt: 4.5}",
     "study.yaml:7:21: workload profile.prompt should be a whole number"},
    {"prompt_twice", 7, "  profile: {prompt: [4, 4]}",
     "study.yaml:7:25: workload profile.prompt has '4' twice"},
    {"empty_list", 7, "  profile: {prompt: []}",
     "study.yaml:7:21: workload profile.prompt should be a value or a list"},
    {"stride_beyond_window", 8, "  perplexity: {data: x, window: 8, stride: 9}",
     "study.yaml:8:44: workload perplexity.stride 9 is longer than the window 8"},
    {"stride_of_disjoint", 8, "  perplexity: {data: x, protocol: disjoint, window: 8, stride: 4}",
     "study.yaml:8:64: workload perplexity.stride has no meaning under disjoint"},
    {"unknown_task", 8, "  perplexity: {data: x, window: 8, stride: 4}\n  tasks: [helaswag]",
     "study.yaml:9:11: workload tasks.names cannot be 'helaswag' did you mean 'hellaswag'?"},
    {"flag", 8, "  perplexity: {data: x, window: 8, stride: 4, reference: yes}",
     "study.yaml:8:58: workload perplexity.reference should be true or false (found 'yes')"},
    {"drift_beyond", 8,
     "  perplexity: {data: x, window: 8, stride: 4}\n  drift: {length: 64, at: [8, 128]}",
     "study.yaml:9:10: workload drift.at has 128 beyond the length 64"},
    {"claim_config", 10, "  same: {equivalent: [C0, C2], metric: perplexity.nll, within: 1%}",
     "study.yaml:10:27: claim same names the unknown config 'C2' did you mean 'C0'?"},
    {"claim_twice", 10, "  same: {equivalent: [C0, C0], metric: perplexity.nll, within: 1%}",
     "study.yaml:10:27: claim same names C0 twice"},
    {"claim_metric", 10, "  same: {equivalent: [C0, C1], metric: perplexity.nil, within: 1%}",
     "study.yaml:10:40: claim same: unknown metric 'perplexity.nil' did you mean "
     "'perplexity.nll'?"},
    {"claim_metric_unmeasured", 10,
     "  same: {equivalent: [C0, C1], metric: synthetic.value, within: 1%}",
     "study.yaml:10:40: claim same: no workload measures synthetic.value"},
    {"claim_no_margin", 10, "  same: {equivalent: [C0, C1], metric: perplexity.nll}",
     "study.yaml:10:9: claim same lacks the key 'within'"},
    {"claim_three", 10, "  same: {better: [C0, C1, C0_aa], metric: perplexity.nll}",
     "study.yaml:10:18: claim same.better compares two configs (found 3)"},
    {"claim_two_kinds", 10,
     "  same: {better: [C0, C1], not_worse: [C0, C1], metric: perplexity.nll}",
     "study.yaml:10:28: claim same has two verdicts to reach"},
    {"claim_none", 10, "  same: {metric: perplexity.nll}",
     "study.yaml:10:9: claim same claims nothing"},
    {"claim_direction", 10,
     "  same: {better: [C0, C1], metric: perplexity.nll, direction: increasing}",
     "study.yaml:10:63: claim same: direction belongs to ordered"},
    {"claim_sense", 10, "  same: {better: [C0, C1], metric: perplexity.tokens}",
     "study.yaml:10:36: claim same: perplexity.tokens is neither better low nor high"},
    {"claim_lengths", 10, "  same: {better: [C0, C1], metric: profile.tpot_ms, lengths: p4_o3}",
     "study.yaml:10:62: claim same: no cell has the lengths 'p4_o3' did you mean 'p4_o2'?"},
    {"repeats_word", 2, "model: m\nrepeats: three",
     "study.yaml:3:10: repeats should be a whole number from 1 to 100000 (found 'three')"},
    {"repeats_backwards", 2, "model: m\nrepeats: {min: 5, max: 3}",
     "study.yaml:3:24: repeats.max is below repeats.min"},
    {"repeats_without_until", 2, "model: m\nrepeats: {min: 3, max: 5}",
     "study.yaml:3:10: repeats lacks the key 'until'"},
    {"until_metric", 2,
     "model: m\nrepeats: {min: 3, max: 5, until: {metric: profile.tpot, ci95: 1%}}",
     "study.yaml:3:43: repeats.until: unknown metric 'profile.tpot'"},
    {"baseline", 2, "model: m\nbaseline: C9",
     "study.yaml:3:11: the baseline 'C9' is no config of this study"},
    {"seed_negative", 2, "model: m\nseed: -1", "study.yaml:3:7: seed should be a whole number"},
    {"noise_floor_taken", 5, "  C0_aa: {}", "study.yaml:4:3: a config is named C0_aa"},
    {"calibration", 2, "model: m\ncalibration: {samples: 4}",
     "study.yaml:3:14: calibration lacks the key 'data'"},
    {"anchor", 5, "  C1: &x {scope: mlp, weights: int4/g128}", "study.yaml:5:7: an anchor"},
    {"tag", 2, "model: !!python/object m", "study.yaml:2:8: a type tag"},
    {"not_yaml", 5, "  C1: {scope: mlp", "study.yaml:"},
    {"second_document", 10, "---\nstudy: two", "study.yaml:11:1: a second document"},
    {"control_character", 2, "model: a\x01", "study.yaml:2: not a text (a control character)"},
    {"no_utf8", 2, "model: a\xff", "study.yaml:2: not a text (bytes that are no UTF-8)"},
    {"escaped_control", 2, "model: \"a\\e[31m\"",
     "study.yaml:2:8: model should be a text of 1 to 1024 bytes (found 'a?[31m')"},
};

INSTANTIATE_TEST_SUITE_P(Each, FaultTest, testing::ValuesIn(fault_cases),
                         [](const auto& each) { return each.param.name; });

TEST(Study, BaseTextHasNoFault) {
  EXPECT_EQ(faults_of(base_text()), "");
}

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
    bomb += std::string(1, c) + ": &" + c + " [*" + static_cast<char>(c - 1) + ", *" +
            static_cast<char>(c - 1) + "]\n";
  }
  EXPECT_NE(faults_of(bomb).find("an alias"), std::string::npos);
}

TEST(Study, DepthAndSizeAreBounded) {
  EXPECT_NE(
      faults_of("study: " + std::string(40, '[') + std::string(40, ']')).find("nested too deeply"),
      std::string::npos);
  EXPECT_NE(faults_of("study: " + std::string(100000, '[')).find("nested too deeply"),
            std::string::npos);
  EXPECT_NE(faults_of("study: " + std::string(1 << 20, 'a')).find("too large"), std::string::npos);
}

TEST(Study, ConfigsAndCellsAreBounded) {
  std::string list;
  for (int i = 0; i < 200; ++i) list += (i > 0 ? ", " : "") + std::to_string(i + 1);
  const std::string lists = "{a: [" + list + "], b: [" + list + "]}";
  EXPECT_NE(
      faults_of(with_line(5, "  C1: {sweep: " + lists + ", scope: mlp, weights: \"int4/g{a}{b}\"}"))
          .find("too many combinations"),
      std::string::npos);
  EXPECT_NE(faults_of(with_line(7, "  profile: {prompt: [" + list + "], output: [" + list + "]}"))
                .find("too many combinations of lengths"),
            std::string::npos);
}

std::string repeated(const std::string& item, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += item;
  return text;
}

std::string numbered(const std::string& before, size_t count, const std::string& after) {
  std::string text;
  for (size_t i = 1; i <= count; ++i) text += before + std::to_string(i) + after;
  return text;
}

// Each multiplies, or would be searched through again and again, if it had no bound of its own.
TEST(Study, SmallFilesCannotBecomeLargeWork) {
  const std::string head = "study: s\nmodel: none\n", rest = "workloads: {synthetic: {}}\n";
  const auto expect = [&](const std::string& yaml, const char* message) {
    ASSERT_LT(yaml.size(), size_t{1} << 20);
    EXPECT_NE(faults_of(yaml).find(message), std::string::npos) << faults_of(yaml).substr(0, 500);
  };
  expect(head + "configs:\n" + numbered(" k", 60'000, ":\n") + " k1:\n", "stands twice");
  expect(head + "configs:\n A:\n  sweep: {a: [" + numbered("", 100, ",") + "], b: [" +
             numbered("", 100, ",") + "]}\n  layers:\n" + numbered("   ", 20'000, ": {kv: int8}\n"),
         "too many combinations of a long config");
  expect(head + "configs:\n A: {sweep: {" + numbered("v", 20, ": 1, ") + "}}\n",
         "too many variables");
  expect(head + "configs: {A: {scope: mlp, transforms: [" + repeated("awq,", 100'000) + "]}}\n",
         "too many transforms");
  expect(head + "configs: {A: {}}\nworkloads: {synthetic: {lengths: [" +
             numbered("", 100'000, ",") + "]}}\n",
         "too many values");
  expect(
      head + "configs: {A: {}}\nworkloads: {drift: {at: [" + numbered("", 100'000, ",") + "]}}\n",
      "too many values");
  expect(head + "configs: {A: {}}\n" + rest + "claims: {c: {metric: synthetic.value, ordered: [" +
             repeated("B,", 100'000) + "]}}\n",
         "too many configs");
  expect(head + "configs: {A: {}}\n" + rest + numbered("bad", 90'000, ":\n"), "more faults");
}

TEST(Study, EmptyAndForeignTextsAreFaults) {
  EXPECT_NE(faults_of("").find("lacks the key 'study'"), std::string::npos);
  EXPECT_NE(faults_of("[1, 2]").find("should be a map"), std::string::npos);
  EXPECT_NE(faults_of(": :\n- -").find("study.yaml"), std::string::npos);
}

TEST(Overrides, BadOnesAreFaults) {
  const std::pair<std::string, std::string> cases[] = {
      {"repeats", "--set repeats: not an override"},
      {"=5", "--set =5: not an override"},
      {"workload.profile.warmup=2",
       "there is no 'workload' in the study (an override changes what is there) did you mean "
       "'workloads'?"},
      {"workloads.profile.wamup=2",
       "--set workloads.profile.wamup=2: workload profile has no key 'wamup' did you mean "
       "'warmup'?"},
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

}  // namespace
}  // namespace qsweep::sweep
