// A quantization config as data: scope x transforms x method x weight format x activation format x
// KV codec, with per-layer overrides (the grammar's composition). Parsing from YAML lives in sweep;
// scope and layer rules in config.cpp, the canonical JSON in config_json.cpp, what may be combined
// in legality.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/names.hpp"
#include "quant/format/activations.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant {

// Which linear of a block; fused projections are roles of their own.
enum class LinearRole { qkv, q, k, v, o, gate_up, gate, up, down, in_proj, out_proj, lm_head };
enum class Scope { mlp, attention, all_linear, mixer_proj, lm_head };
enum class MethodId { rtn, gptq, awq_clip, hqq, adaround };
enum class TransformId { smoothquant, awq, quarot };
enum class KvId { none, bf16, fp8_e4m3, int8, int4, nf4 };  // none: the engine's compute type
enum class KvAxis { head, layer, token };

// Free options of a method or transform, e.g. {damping: 0.01}; numbers and booleans as doubles.
using Options = std::map<std::string, double>;

struct Method {
  MethodId id = MethodId::rtn;
  Options options;
};
struct Transform {
  TransformId id;
  Options options;
};
struct KvCodec {
  KvId id = KvId::none;
  KvAxis axis = KvAxis::head;
  double keep = 1.0;    // fraction of the cache kept, (0, 1]
  std::string keep_by;  // "key_norm", ...; empty when all is kept
};
// Cache-to-cache: a second model whose cache is fused into this one's.
struct Sharer {
  std::string model;
  std::string fuser;
  KvCodec kv;
};

// Which layers an override touches: [first, last], counted from 0, or from the end ("last 4").
struct LayerRange {
  int64_t first = 0, last = 0;
  bool from_end = false;  // then `last` is the count of last layers and `first` is unused
  bool covers(int64_t layer, int64_t n_layers) const;
};

struct LayerOverride {
  std::string key;  // as written: "last 4", "0-3", "5"
  LayerRange range;
  std::optional<FormatSpec> weights;
  std::optional<KvCodec> kv;
};

struct QuantConfig {
  std::string name;          // the config id, also a folder name
  std::vector<Scope> scope;  // empty: nothing is quantized
  std::vector<Transform> transforms;
  Method method;
  std::optional<FormatSpec> weights;  // of every linear in scope; none: as the checkpoint has it
  ActivationFormat activations;
  KvCodec kv;
  std::vector<LayerOverride> layers;
  std::optional<Sharer> sharer;
  std::string duplicate_of;  // A/A duplicate of the baseline: the config it repeats
};

// The canonical form: every default written out, keys sorted; hashed into run ids and written to
// resolved.yaml.
nlohmann::json to_json(const QuantConfig& config);
nlohmann::json to_json(const FormatSpec& spec);
// Reads what to_json wrote (quantized checkpoints keep it). Throws Error{invalid_input} naming the
// key.
QuantConfig config_from_json(const nlohmann::json& json);
FormatSpec format_from_json(const nlohmann::json& json);

// The one answer to "is this module in scope?" for every family. all_linear is every linear of the
// blocks; the lm_head is in scope only by its own name (as bitsandbytes leaves it alone).
bool in_scope(const std::vector<Scope>& scope, LinearRole role);
// Format of one linear under the config: override by layer first, then scope; nullopt: as the
// checkpoint has it.
std::optional<FormatSpec> weight_format(const QuantConfig& config, LinearRole role, int64_t layer,
                                        int64_t n_layers);
// Whether any weights are stored as codes with scales.
bool quantizes_weights(const QuantConfig& config);
// Format of one linear's input under the config: the config's where the weights have scales, else
// none.
ActivationFormat activation_format(const QuantConfig& config, LinearRole role, int64_t layer,
                                   int64_t n_layers);
// Whether inputs are rounded by scales that a calibration found.
bool needs_activation_ranges(const QuantConfig& config);

// Why a config cannot run, or empty. "not available yet" names a part whose engine is not built.
// `ssm`: the model is a state-space model (no KV cache, mixer_proj scope).
std::string config_problem(const QuantConfig& config, bool ssm);

// Record attributes that sum a config up: w_bits, a_bits, kv_bits (bits; compute_bits where nothing
// is quantized), group_size, per_channel, scale_format, quant_method, calib_method.
struct ConfigSummary {
  int w_bits = 16, a_bits = 16, kv_bits = 16;
  int64_t group_size = 0;
  bool per_channel = false;
  std::string scale_format, quant_method, calib_method, weight_format;
};
ConfigSummary summarize(const QuantConfig& config, int compute_bits);

}  // namespace qsweep::quant

template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::LinearRole> =
    std::to_array<qsweep::NamePair<qsweep::quant::LinearRole>>(
        {{qsweep::quant::LinearRole::qkv, "qkv"},
         {qsweep::quant::LinearRole::q, "q"},
         {qsweep::quant::LinearRole::k, "k"},
         {qsweep::quant::LinearRole::v, "v"},
         {qsweep::quant::LinearRole::o, "o"},
         {qsweep::quant::LinearRole::gate_up, "gate_up"},
         {qsweep::quant::LinearRole::gate, "gate"},
         {qsweep::quant::LinearRole::up, "up"},
         {qsweep::quant::LinearRole::down, "down"},
         {qsweep::quant::LinearRole::in_proj, "in_proj"},
         {qsweep::quant::LinearRole::out_proj, "out_proj"},
         {qsweep::quant::LinearRole::lm_head, "lm_head"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::Scope> =
    std::to_array<qsweep::NamePair<qsweep::quant::Scope>>(
        {{qsweep::quant::Scope::mlp, "mlp"},
         {qsweep::quant::Scope::attention, "attention"},
         {qsweep::quant::Scope::all_linear, "all_linear"},
         {qsweep::quant::Scope::mixer_proj, "mixer_proj"},
         {qsweep::quant::Scope::lm_head, "lm_head"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::MethodId> =
    std::to_array<qsweep::NamePair<qsweep::quant::MethodId>>(
        {{qsweep::quant::MethodId::rtn, "rtn"},
         {qsweep::quant::MethodId::gptq, "gptq"},
         {qsweep::quant::MethodId::awq_clip, "clip"},
         {qsweep::quant::MethodId::hqq, "hqq"},
         {qsweep::quant::MethodId::adaround, "adaround"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::TransformId> =
    std::to_array<qsweep::NamePair<qsweep::quant::TransformId>>(
        {{qsweep::quant::TransformId::smoothquant, "smoothquant"},
         {qsweep::quant::TransformId::awq, "awq"},
         {qsweep::quant::TransformId::quarot, "quarot"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::KvId> =
    std::to_array<qsweep::NamePair<qsweep::quant::KvId>>({{qsweep::quant::KvId::none, "none"},
                                                          {qsweep::quant::KvId::bf16, "bf16"},
                                                          {qsweep::quant::KvId::fp8_e4m3,
                                                           "fp8_e4m3"},
                                                          {qsweep::quant::KvId::int8, "int8"},
                                                          {qsweep::quant::KvId::int4, "int4"},
                                                          {qsweep::quant::KvId::nf4, "nf4"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::KvAxis> =
    std::to_array<qsweep::NamePair<qsweep::quant::KvAxis>>({{qsweep::quant::KvAxis::head, "head"},
                                                            {qsweep::quant::KvAxis::layer, "layer"},
                                                            {qsweep::quant::KvAxis::token,
                                                             "token"}});
