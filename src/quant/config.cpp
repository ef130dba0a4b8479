// Scopes, per-layer overrides and the summary of a config.
#include "quant/config.hpp"

#include <algorithm>
#include <array>

namespace qsweep::quant {
namespace {

// Which scopes hold a role, one row a role.
struct RoleScopes {
  LinearRole role;
  std::array<Scope, 2> scopes;
};
constexpr std::array<RoleScopes, 12> role_scopes = {{
    {LinearRole::qkv, {Scope::attention, Scope::all_linear}},
    {LinearRole::q, {Scope::attention, Scope::all_linear}},
    {LinearRole::k, {Scope::attention, Scope::all_linear}},
    {LinearRole::v, {Scope::attention, Scope::all_linear}},
    {LinearRole::o, {Scope::attention, Scope::all_linear}},
    {LinearRole::gate_up, {Scope::mlp, Scope::all_linear}},
    {LinearRole::gate, {Scope::mlp, Scope::all_linear}},
    {LinearRole::up, {Scope::mlp, Scope::all_linear}},
    {LinearRole::down, {Scope::mlp, Scope::all_linear}},
    {LinearRole::in_proj, {Scope::mixer_proj, Scope::all_linear}},
    {LinearRole::out_proj, {Scope::mixer_proj, Scope::all_linear}},
    {LinearRole::lm_head, {Scope::lm_head, Scope::lm_head}},
}};
static_assert(role_scopes.size() == enum_names<LinearRole>.size());

int activation_bits(ActivationId id, int compute_bits) {
  switch (id) {
    case ActivationId::none:
      return compute_bits;
    case ActivationId::bf16:
      return 16;
    case ActivationId::fp8_e4m3:
    case ActivationId::int8:
      return 8;
    case ActivationId::int4:
      return 4;
  }
  return compute_bits;
}

int kv_bits(KvId id, int compute_bits) {
  switch (id) {
    case KvId::none:
      return compute_bits;
    case KvId::bf16:
      return 16;
    case KvId::fp8_e4m3:
    case KvId::int8:
      return 8;
    case KvId::int4:
    case KvId::nf4:
      return 4;
  }
  return compute_bits;
}

// What reads calibration data, joined by "+"; rtn and hqq read none.
std::string calibration_readers(const QuantConfig& config) {
  std::string readers;
  const auto add = [&](std::string_view name) {
    if (!readers.empty()) readers += "+";
    readers += name;
  };
  for (const Transform& transform : config.transforms) {
    if (transform.id != TransformId::quarot) add(name_of(transform.id));
  }
  if (config.method.id != MethodId::rtn && config.method.id != MethodId::hqq)
    add(name_of(config.method.id));
  if (needs_activation_ranges(config)) add("absmax");  // static scales of activations
  return readers.empty() ? "none" : readers;
}

}  // namespace

bool LayerRange::covers(int64_t layer, int64_t n_layers) const {
  if (layer < 0 || layer >= n_layers) return false;
  return from_end ? layer >= n_layers - last : layer >= first && layer <= last;
}

bool in_scope(const std::vector<Scope>& scope, LinearRole role) {
  const auto row =
      std::find_if(role_scopes.begin(), role_scopes.end(),
                   [&](const RoleScopes& candidate) { return candidate.role == role; });
  if (row == role_scopes.end()) return false;
  return std::any_of(scope.begin(), scope.end(), [&](Scope s) {
    return std::find(row->scopes.begin(), row->scopes.end(), s) != row->scopes.end();
  });
}

std::optional<FormatSpec> weight_format(const QuantConfig& config, LinearRole role, int64_t layer,
                                        int64_t n_layers) {
  if (!in_scope(config.scope, role)) return std::nullopt;
  std::optional<FormatSpec> format = config.weights;
  for (const LayerOverride& override_ : config.layers) {
    if (override_.weights && override_.range.covers(layer, n_layers)) format = override_.weights;
  }
  return format;
}

bool quantizes_weights(const QuantConfig& config) {
  if (config.weights && has_scales(config.weights->id)) return true;
  return std::any_of(config.layers.begin(), config.layers.end(), [](const LayerOverride& layer) {
    return layer.weights && has_scales(layer.weights->id);
  });
}

ActivationFormat activation_format(const QuantConfig& config, LinearRole role, int64_t layer,
                                   int64_t n_layers) {
  const auto weights = weight_format(config, role, layer, n_layers);
  return weights && has_scales(weights->id) ? config.activations : ActivationFormat{};
}

bool needs_activation_ranges(const QuantConfig& config) {
  return has_scales(config.activations.id) && config.activations.scale == ActivationScale::tensor;
}

ConfigSummary summarize(const QuantConfig& config, int compute_bits) {
  ConfigSummary summary;
  const bool quantized = config.weights && !config.scope.empty();
  summary.w_bits = quantized ? code_bits(config.weights->id) : compute_bits;
  const bool rounded = quantizes_weights(config) && !config.scope.empty();
  summary.a_bits = rounded ? activation_bits(config.activations.id, compute_bits) : compute_bits;
  summary.kv_bits = kv_bits(config.kv.id, compute_bits);
  summary.scale_format = summary.weight_format = summary.quant_method = "none";
  summary.calib_method = calibration_readers(config);
  if (quantized) {
    summary.weight_format = to_string(*config.weights);
    summary.group_size = std::max<int64_t>(config.weights->group, 0);
    summary.quant_method = name_of(config.method.id);
    if (has_scales(config.weights->id)) {
      summary.per_channel = config.weights->group == per_channel;
      summary.scale_format = to_string(config.weights->scale);
    }
  }
  for (const LayerOverride& override_ : config.layers) {
    if (override_.weights)
      summary.weight_format += "; " + override_.key + ": " + to_string(*override_.weights);
  }
  return summary;
}

}  // namespace qsweep::quant
