// Scopes, layer overrides, canonical JSON, legality and summary of configs.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "quant/config.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

using nlohmann::json;

FormatSpec int4_g128() {
  return {FormatId::int4, 128, true, {}};
}

QuantConfig mlp_int4() {
  QuantConfig config;
  config.name = "C3";
  config.scope = {Scope::mlp};
  config.weights = int4_g128();
  return config;
}

TEST(Scope, EveryRoleHasItsScopes) {
  using enum LinearRole;
  const std::map<Scope, std::set<LinearRole>> expected = {
      {Scope::mlp, {gate_up, gate, up, down}},
      {Scope::attention, {qkv, q, k, v, o}},
      {Scope::mixer_proj, {in_proj, out_proj}},
      {Scope::lm_head, {lm_head}},
      {Scope::all_linear, {gate_up, gate, up, down, qkv, q, k, v, o, in_proj, out_proj}},
  };
  for (const auto& [scope, scope_name] : enum_names<Scope>) {
    for (const auto& [role, role_name] : enum_names<LinearRole>) {
      EXPECT_EQ(in_scope({scope}, role), expected.at(scope).contains(role))
          << scope_name << " " << role_name;
    }
  }
  EXPECT_FALSE(in_scope({}, down));
  EXPECT_TRUE(in_scope({Scope::attention, Scope::lm_head}, lm_head));
}

TEST(LayerRangeTest, CountsFromBothEnds) {
  const LayerRange first_two{0, 1, false}, last_four{0, 4, true}, one{5, 5, false};
  std::string covered;
  for (int64_t layer = 0; layer < 8; ++layer) {
    covered += first_two.covers(layer, 8) ? 'f' : last_four.covers(layer, 8) ? 'l' : '.';
  }
  EXPECT_EQ(covered, "ff..llll");
  EXPECT_TRUE(one.covers(5, 8));
  EXPECT_FALSE(one.covers(4, 8));
  EXPECT_FALSE(last_four.covers(8, 8));
  EXPECT_FALSE(first_two.covers(-1, 8));  // lm_head
  EXPECT_TRUE(last_four.covers(0, 2));    // more than there are: all
}

TEST(WeightFormat, ScopeThenLayers) {
  QuantConfig config = mlp_int4();
  LayerOverride last{"last 1", {0, 1, true}, FormatSpec{FormatId::int8, per_channel, true, {}}, {}};
  config.layers = {last};
  EXPECT_EQ(weight_format(config, LinearRole::down, 0, 4), int4_g128());
  EXPECT_EQ(weight_format(config, LinearRole::down, 3, 4), last.weights);
  EXPECT_EQ(weight_format(config, LinearRole::o, 3, 4), std::nullopt);
  EXPECT_EQ(weight_format(config, LinearRole::lm_head, -1, 4), std::nullopt);
  LayerOverride later{"3", {3, 3, false}, FormatSpec{}, {}};
  config.layers.push_back(later);
  EXPECT_EQ(weight_format(config, LinearRole::down, 3, 4),
            FormatSpec{});  // the last one written wins
  EXPECT_EQ(weight_format(QuantConfig{}, LinearRole::down, 0, 4), std::nullopt);
}

TEST(ActivationFormat, GoesWithWeightsThatHaveScales) {
  QuantConfig config = mlp_int4();
  config.activations = {ActivationId::int8, ActivationScale::token};
  EXPECT_EQ(activation_format(config, LinearRole::down, 0, 4), config.activations);
  EXPECT_EQ(activation_format(config, LinearRole::o, 0, 4), ActivationFormat{});
  EXPECT_EQ(activation_format(config, LinearRole::lm_head, -1, 4), ActivationFormat{});
  config.layers = {{"last 1", {0, 1, true}, FormatSpec{}, {}}};
  EXPECT_EQ(activation_format(config, LinearRole::down, 2, 4), config.activations);
  EXPECT_EQ(activation_format(config, LinearRole::down, 3, 4), ActivationFormat{});
  EXPECT_FALSE(needs_activation_ranges(config));
  config.activations.scale = ActivationScale::tensor;
  EXPECT_TRUE(needs_activation_ranges(config));
  config.activations.id = ActivationId::bf16;
  EXPECT_FALSE(needs_activation_ranges(config));
}

// ---- JSON

QuantConfig everything() {
  QuantConfig config = mlp_int4();
  config.scope = {Scope::attention, Scope::mlp};
  config.transforms = {{TransformId::smoothquant, {{"alpha", 0.85}}}, {TransformId::quarot, {}}};
  config.method = {MethodId::gptq, {{"act_order", 1}, {"damping", 0.01}}};
  config.weights =
      FormatSpec{FormatId::int4, 64, false, {ScaleCodecId::e5m, 3, false, ScaleRounding::up}};
  config.activations = {ActivationId::int8, ActivationScale::tensor};
  config.kv = {KvId::int4, KvAxis::token, 0.25, "key_norm"};
  config.layers = {{"last 4", {0, 4, true}, FormatSpec{}, KvCodec{}},
                   {"0-3", {0, 3, false}, int4_g128(), {}}};
  config.sharer = Sharer{
      "Qwen/Qwen2.5-0.5B-Instruct", "nics-efc/C2C_Fuser", {KvId::int8, KvAxis::head, 1.0, ""}};
  config.duplicate_of = "C0";
  return config;
}

TEST(ConfigJson, RoundTrips) {
  for (const QuantConfig& config : {QuantConfig{}, mlp_int4(), everything()}) {
    const json written = to_json(config);
    EXPECT_EQ(to_json(config_from_json(json::parse(written.dump()))), written);
  }
  const QuantConfig back = config_from_json(to_json(everything()));
  EXPECT_EQ(back.weights, everything().weights);
  EXPECT_EQ(back.method.options.at("damping"), 0.01);
  EXPECT_EQ(back.kv.keep, 0.25);
  EXPECT_EQ(back.layers[0].range.last, 4);
  EXPECT_EQ(back.layers[1].weights, int4_g128());
  EXPECT_EQ(back.sharer->fuser, "nics-efc/C2C_Fuser");
}

TEST(ConfigJson, EverySpecRoundTrips) {
  for (const FormatSpec& spec : all_specs()) {
    const json written = to_json(spec);
    const FormatSpec back = format_from_json(written);
    EXPECT_EQ(to_string(back), to_string(spec));
    EXPECT_EQ(to_json(back), written);
    EXPECT_TRUE(!has_scales(spec.id) || back == spec || spec.scale.id != ScaleCodecId::e5m);
  }
}

TEST(ConfigJson, IsCanonical) {
  EXPECT_EQ(to_json(int4_g128()).dump(),
            R"({"format":"int4","group":128,"scale":{"codec":"fp32"},"symmetric":true})");
  EXPECT_EQ(to_json(FormatSpec{}).dump(), R"({"format":"bf16"})");
  QuantConfig a = mlp_int4(), b = mlp_int4();
  a.scope = {Scope::mlp, Scope::attention};
  b.scope = {Scope::attention, Scope::mlp, Scope::mlp};
  EXPECT_EQ(to_json(a), to_json(b));
}

TEST(ConfigJson, RefusesWithTheKey) {
  const auto refusal = [](const std::string& text) -> std::string {
    try {
      config_from_json(json::parse(text));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
      return error.what();
    }
    return "accepted";
  };
  const auto expect_names = [&](const std::string& text, const std::string& word) {
    EXPECT_NE(refusal(text).find(word), std::string::npos) << text << "\n" << refusal(text);
  };
  expect_names(R"([])", "expected an object");
  expect_names(R"({"wieghts": {}})", "did you mean \"weights\"");
  expect_names(R"({"weights": {"format": "int5"}})", "weights.format");
  expect_names(R"({"weights": {"group": 4}})", "weights.format (missing)");
  expect_names(R"({"weights": {"format": "int4", "group": -3}})", "weights.group");
  expect_names(R"({"weights": {"format": "int4", "group": 1e300}})", "weights.group");
  expect_names(R"({"weights": {"format": "int4", "group": 18446744073709551615}})",
               "weights.group");
  expect_names(R"({"weights": {"format": "int4", "group": "row"}})", "weights.group");
  expect_names(R"({"weights": {"format": "nf4"}})", "block size");
  expect_names(R"({"weights": {"format": "int4", "scale": {"codec": "e5m", "mantissa_bits": 11}}})",
               "weights.scale.mantissa_bits");
  expect_names(R"({"weights": {"format": "int4", "scale": "fp32"}})", "weights.scale");
  expect_names(R"({"weights": {"format": "int4", "symmetric": 1}})", "weights.symmetric");
  expect_names(R"({"scope": "mlp"})", "scope");
  expect_names(R"({"scope": ["atention"]})",
               "of scope[0] (no such name) did you mean \"attention\"");
  expect_names(R"({"method": {"name": "gptq", "options": {"damping": "much"}}})",
               "method.options.damping");
  expect_names(R"({"kv": {"keep": 0}})", "kv.keep");
  expect_names(R"({"kv": {"keep": 1.5}})", "kv.keep");
  expect_names(R"({"layers": [{"first": -1}]})", "layers[0].first");
  expect_names(R"({"layers": [{"weights": {"format": "bf16", "group": 4}}]})", "layers[0].weights");
  expect_names(R"({"name": 5})", "name");
  expect_names("{\"name\": \"" + std::string(5000, 'x') + "\"}", "name");
}

// ---- legality

TEST(Legality, WhatRuns) {
  EXPECT_EQ(config_problem(QuantConfig{}, false), "");
  EXPECT_EQ(config_problem(QuantConfig{}, true), "");
  for (const FormatSpec& spec : all_specs()) {
    QuantConfig config = mlp_int4();
    config.weights = spec;
    EXPECT_EQ(config_problem(config, false), "") << to_string(spec);
    config.scope = {Scope::mixer_proj};
    EXPECT_EQ(config_problem(config, true), "") << to_string(spec);
  }
  QuantConfig by_layer = mlp_int4();
  by_layer.weights.reset();
  by_layer.layers = {{"0", {0, 0, false}, int4_g128(), {}}};
  EXPECT_EQ(config_problem(by_layer, false), "");
}

struct Refused {
  const char* reason;
  bool ssm;
  void (*change)(QuantConfig& config);  // of mlp_int4
};

TEST(Legality, NonsenseHasItsReason) {
  const Refused cases[] = {
      {"no scope", false, [](QuantConfig& c) { c.scope.clear(); }},
      {"but no weights", false, [](QuantConfig& c) { c.weights.reset(); }},
      {"has no mlp", true, [](QuantConfig&) {}},
      {"has no attention", true, [](QuantConfig& c) { c.scope = {Scope::attention}; }},
      {"state-space models", false, [](QuantConfig& c) { c.scope = {Scope::mixer_proj}; }},
      {"scale codec", false,
       [](QuantConfig& c) {
         c.weights = FormatSpec{FormatId::bf16, 0, true, {ScaleCodecId::e5m, 5, true, {}}};
       }},
      {"groups of -5", false, [](QuantConfig& c) { c.weights->group = -5; }},
      {"block size", false,
       [](QuantConfig& c) {
         c.weights->id = FormatId::nf4;
         c.weights->group = per_channel;
       }},
      {"0 to 10", false,
       [](QuantConfig& c) {
         c.weights->scale = {ScaleCodecId::e5m, 12, true, {}};
       }},
      {"int4 activations need quantized weights", false,
       [](QuantConfig& c) {
         c.scope.clear();
         c.weights.reset();
         c.activations.id = ActivationId::int4;
       }},
      {"no weights are quantized", false,
       [](QuantConfig& c) {
         c.weights = FormatSpec{};
         c.method.id = MethodId::gptq;
       }},
      {"transform awq", false,
       [](QuantConfig& c) {
         c.weights = FormatSpec{};
         c.transforms = {{TransformId::awq, {}}};
       }},
      {"given twice", false,
       [](QuantConfig& c) {
         c.transforms = {{TransformId::quarot, {}}, {TransformId::quarot, {}}};
       }},
      {"state-space model does not have", true,
       [](QuantConfig& c) {
         c.scope = {Scope::mixer_proj};
         c.transforms = {{TransformId::smoothquant, {}}};
       }},
      {"no KV cache", true,
       [](QuantConfig& c) {
         c.scope = {Scope::mixer_proj};
         c.kv.id = KvId::int8;
       }},
      {"keep must be", false, [](QuantConfig& c) { c.kv.keep = 0; }},
      {"by what", false, [](QuantConfig& c) { c.kv.keep = 0.5; }},
      {"while all is kept", false, [](QuantConfig& c) { c.kv.keep_by = "key_norm"; }},
      {"a model and a fuser", false, [](QuantConfig& c) { c.sharer = Sharer{}; }},
      {"range is empty", false,
       [](QuantConfig& c) {
         c.layers = {{"3-1", {3, 1, false}, int4_g128(), {}}};
       }},
      {"nothing is overridden", false,
       [](QuantConfig& c) {
         c.layers = {{"0", {0, 0, false}, {}, {}}};
       }},
      {"layers 0: bf16", false,
       [](QuantConfig& c) {
         c.layers = {{"0", {0, 0, false}, FormatSpec{FormatId::bf16, 7, true, {}}, {}}};
       }},
  };
  for (const Refused& refused : cases) {
    QuantConfig config = mlp_int4();
    refused.change(config);
    const std::string problem = config_problem(config, refused.ssm);
    EXPECT_NE(problem.find(refused.reason), std::string::npos)
        << refused.reason << " / " << problem;
    EXPECT_EQ(problem.find("not available yet"), std::string::npos) << problem;
  }
}

TEST(Legality, ActivationsRunWhereWeightsHaveScales) {
  for (const auto& [id, name] : enum_names<ActivationId>) {
    QuantConfig config = mlp_int4();
    config.activations.id = id;
    EXPECT_EQ(config_problem(config, false), "") << name;
    config.activations.scale = ActivationScale::tensor;
    EXPECT_EQ(config_problem(config, false), "") << name;
    config.weights = FormatSpec{};
    EXPECT_EQ(config_problem(config, false).empty(), !has_scales(id)) << name;
  }
}

TEST(Legality, NotYetHasItsReason) {
  const Refused cases[] = {
      {"method gptq", false, [](QuantConfig& c) { c.method.id = MethodId::gptq; }},
      {"transform quarot", false,
       [](QuantConfig& c) {
         c.transforms = {{TransformId::quarot, {}}};
       }},
      {"KV cache in nf4", false, [](QuantConfig& c) { c.kv.id = KvId::nf4; }},
      {"keeps a part", false,
       [](QuantConfig& c) {
         c.kv = {KvId::none, KvAxis::head, 0.5, "key_norm"};
       }},
      {"sharer", false,
       [](QuantConfig& c) {
         c.sharer = Sharer{"a", "b", {}};
       }},
      {"by layer", false,
       [](QuantConfig& c) {
         c.layers = {{"last 4", {0, 4, true}, {}, KvCodec{KvId::int8, {}, 1.0, ""}}};
       }},
  };
  for (const Refused& refused : cases) {
    QuantConfig config = mlp_int4();
    refused.change(config);
    const std::string problem = config_problem(config, refused.ssm);
    EXPECT_EQ(problem.find("not available yet: "), 0u) << problem;
    EXPECT_NE(problem.find(refused.reason), std::string::npos)
        << refused.reason << " / " << problem;
  }
}

// ---- summary

TEST(Summary, OfNothingAndOfC4) {
  const ConfigSummary none = summarize(QuantConfig{}, 32);
  EXPECT_EQ(none.w_bits, 32);
  EXPECT_EQ(none.a_bits, 32);
  EXPECT_EQ(none.weight_format, "none");
  EXPECT_EQ(none.quant_method, "none");
  EXPECT_EQ(none.scale_format, "none");
  QuantConfig config = mlp_int4();
  config.weights->scale = {ScaleCodecId::e5m, 5, true, {}};
  const ConfigSummary c4 = summarize(config, 16);
  EXPECT_EQ(c4.w_bits, 4);
  EXPECT_EQ(c4.a_bits, 16);
  EXPECT_EQ(c4.group_size, 128);
  EXPECT_FALSE(c4.per_channel);
  EXPECT_EQ(c4.scale_format, "e5m5");
  EXPECT_EQ(c4.quant_method, "rtn");
  EXPECT_EQ(c4.calib_method, "none");
  EXPECT_EQ(c4.weight_format, "int4 g128 e5m5");
  config.activations.id = ActivationId::fp8_e4m3;
  EXPECT_EQ(summarize(config, 32).a_bits, 8);
  config.activations.id = ActivationId::int4;
  EXPECT_EQ(summarize(config, 32).a_bits, 4);
  config.weights = FormatSpec{};
  config.activations.id = ActivationId::bf16;
  EXPECT_EQ(summarize(config, 32).a_bits, 32) << "nothing is rounded beside raw weights";
  const ConfigSummary all = summarize(everything(), 16);
  EXPECT_EQ(all.a_bits, 8);
  EXPECT_EQ(all.kv_bits, 4);
  EXPECT_EQ(all.calib_method, "smoothquant+gptq+absmax");
  EXPECT_EQ(all.weight_format, "int4 g64 asym e5m3-unsigned-up; last 4: bf16; 0-3: int4 g128 fp32");
}

}  // namespace
}  // namespace qsweep::quant
