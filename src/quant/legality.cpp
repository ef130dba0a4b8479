// Which configs can run. Reasons come in two kinds: a combination that makes no sense, and ("not
// available yet") one that does but whose part of the engine is not built. Nonsense is told first,
// as it will never become available.
#include <array>

#include "quant/config.hpp"

namespace qsweep::quant {
namespace {

using Check = std::string (*)(const QuantConfig& config, bool ssm);

bool holds(const std::vector<Scope>& scope, Scope wanted) {
  for (const Scope s : scope) {
    if (s == wanted) return true;
  }
  return false;
}

bool names_weights(const QuantConfig& config) {
  if (config.weights) return true;
  for (const LayerOverride& layer : config.layers) {
    if (layer.weights) return true;
  }
  return false;
}

// ---- what makes no sense

std::string format_problem(const QuantConfig& config, bool) {
  if (config.weights) {
    if (std::string problem = spec_problem(*config.weights); !problem.empty()) return problem;
  }
  for (const LayerOverride& layer : config.layers) {
    if (!layer.weights) continue;
    if (const std::string problem = spec_problem(*layer.weights); !problem.empty()) {
      return "layers " + layer.key + ": " + problem;
    }
  }
  return {};
}

std::string scope_problem(const QuantConfig& config, bool ssm) {
  if (config.scope.empty() && names_weights(config)) {
    return "weights are given but no scope, so nothing would be quantized";
  }
  if (!config.scope.empty() && !names_weights(config)) {
    return "a scope is given but no weights, so there is nothing to do in it";
  }
  if (ssm && holds(config.scope, Scope::mlp))
    return "a state-space model has no mlp; its linears are mixer_proj";
  if (ssm && holds(config.scope, Scope::attention)) {
    return "a state-space model has no attention; its linears are mixer_proj";
  }
  if (!ssm && holds(config.scope, Scope::mixer_proj)) {
    return "mixer_proj is the scope of state-space models; a transformer has mlp and attention";
  }
  return {};
}

std::string method_problem(const QuantConfig& config, bool) {
  if (quantizes_weights(config)) return {};
  if (config.method.id != MethodId::rtn) {
    return "method " + std::string(name_of(config.method.id)) +
           " chooses codes, but no weights are quantized";
  }
  for (const Transform& transform : config.transforms) {
    // Rotations and smoothing are exact rewrites and may stand alone to prove that; AWQ's search
    // needs a grid.
    if (transform.id == TransformId::awq) {
      return "transform awq minimises the error of quantized weights, but no weights are quantized";
    }
  }
  return {};
}

std::string transform_problem(const QuantConfig& config, bool ssm) {
  for (size_t i = 0; i < config.transforms.size(); ++i) {
    for (size_t j = i + 1; j < config.transforms.size(); ++j) {
      if (config.transforms[i].id == config.transforms[j].id) {
        return "transform " + std::string(name_of(config.transforms[i].id)) + " is given twice";
      }
    }
    if (ssm && config.transforms[i].id != TransformId::quarot) {
      return "transform " + std::string(name_of(config.transforms[i].id)) +
             " folds scales between norm, attention and mlp, which a state-space model does not "
             "have";
    }
  }
  return {};
}

std::string activation_problem(const QuantConfig& config, bool) {
  const ActivationId id = config.activations.id;
  if (id == ActivationId::none || id == ActivationId::bf16) return {};
  if (!quantizes_weights(config)) {
    return std::string(name_of(id)) + " activations need quantized weights to be multiplied with";
  }
  return {};
}

std::string kv_codec_problem(const KvCodec& kv, bool ssm) {
  if (!(kv.keep > 0 && kv.keep <= 1)) return "keep must be above 0 and at most 1";
  if (kv.keep < 1 && kv.keep_by.empty())
    return "keep below 1 must say by what positions are chosen";
  if (kv.keep == 1 && !kv.keep_by.empty())
    return "by \"" + kv.keep_by + "\" means nothing while all is kept";
  if (ssm && (kv.id != KvId::none || kv.keep < 1)) return "a state-space model has no KV cache";
  return {};
}

std::string kv_problem(const QuantConfig& config, bool ssm) {
  if (std::string problem = kv_codec_problem(config.kv, ssm); !problem.empty())
    return "kv: " + problem;
  for (const LayerOverride& layer : config.layers) {
    if (!layer.kv) continue;
    if (const std::string problem = kv_codec_problem(*layer.kv, ssm); !problem.empty()) {
      return "layers " + layer.key + ": kv: " + problem;
    }
  }
  if (!config.sharer) return {};
  if (ssm) return "cache-to-cache needs a KV cache, which a state-space model does not have";
  if (config.sharer->model.empty() || config.sharer->fuser.empty())
    return "a sharer needs a model and a fuser";
  return kv_codec_problem(config.sharer->kv, false);
}

std::string layer_problem(const QuantConfig& config, bool) {
  for (const LayerOverride& layer : config.layers) {
    const LayerRange& range = layer.range;
    if (range.from_end ? range.last <= 0 : range.first < 0 || range.first > range.last) {
      return "layers " + layer.key + ": the range is empty";
    }
    if (!layer.weights && !layer.kv) return "layers " + layer.key + ": nothing is overridden";
  }
  return {};
}

// ---- what is not built

std::string later(std::string_view part) {
  return "not available yet: " + std::string(part);
}

std::string unavailable(const QuantConfig& config, bool) {
  if (!config.transforms.empty())
    return later("transform " + std::string(name_of(config.transforms[0].id)));
  if (config.method.id != MethodId::rtn)
    return later("method " + std::string(name_of(config.method.id)));
  if (config.sharer) return later("cache-to-cache with a sharer");
  if (config.kv.id != KvId::none)
    return later("a KV cache in " + std::string(name_of(config.kv.id)));
  if (config.kv.keep < 1) return later("a KV cache that keeps a part");
  for (const LayerOverride& layer : config.layers) {
    if (layer.kv && (layer.kv->id != KvId::none || layer.kv->keep < 1))
      return later("a KV codec by layer");
  }
  return {};
}

constexpr std::array<Check, 8> checks = {format_problem,    scope_problem,      method_problem,
                                         transform_problem, activation_problem, kv_problem,
                                         layer_problem,     unavailable};

}  // namespace

std::string config_problem(const QuantConfig& config, bool ssm) {
  for (const Check check : checks) {
    if (std::string problem = check(config, ssm); !problem.empty()) return problem;
  }
  return {};
}

}  // namespace qsweep::quant
