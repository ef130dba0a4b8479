// Weight, activation and KV formats in short form (`int4/g128/e5m5`, `int8/token`, `int4/head`) and
// long form.
#pragma once

#include <optional>

#include "quant/config.hpp"
#include "sweep/grammar/read.hpp"

namespace qsweep::sweep::grammar {

// `none` gives nullopt without a fault. Short: format[/group[/scale]], group: channel, tensor,
// g128. Long: {format, group, symmetric, scale}. Defaults: nf4 64 elements a group, others a scale
// a row; symmetric; fp32 scales.
std::optional<quant::FormatSpec> read_weights(const Node& node, const std::string& what,
                                              Faults& faults);
// Word (fp32, fp16, bf16, e5m0..e5m10, dq8) or {codec, sign, rounding}.
quant::ScaleCodec read_scale(const Node& node, const std::string& what, Faults& faults);
// Short: format[/token|/tensor]. Long: {format, scale}.
quant::ActivationFormat read_activations(const Node& node, const std::string& what, Faults& faults);
// Short: format[/head|/layer|/token]. Long: {format, axis, keep, by}.
quant::KvCodec read_kv(const Node& node, const std::string& what, Faults& faults);

// Keys and words, for the documentation's test.
const std::vector<std::string>& weight_keys();
const std::vector<std::string>& scale_keys();
const std::vector<std::string>& activation_keys();
const std::vector<std::string>& kv_keys();
const std::vector<std::string>& keep_rules();

// Long forms in one line of YAML, every default written out.
std::string weights_yaml(const std::optional<quant::FormatSpec>& spec);
std::string activations_yaml(const quant::ActivationFormat& format);
std::string kv_yaml(const quant::KvCodec& codec);

}  // namespace qsweep::sweep::grammar
