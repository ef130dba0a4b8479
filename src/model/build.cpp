// Checkpoint + config -> model: every linear either wraps the checkpoint's bytes, shares them with
// `base`, is quantized here by round-to-nearest, or is read packed from a folder that was quantized
// before.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "kernels/activations/activations.hpp"
#include "kernels/packed_hash/packed_hash.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/rope/rope.hpp"
#include "model/checkpoint_values.hpp"
#include "model/quantized_io.hpp"
#include "model/raw_matrices.hpp"
#include "model/structure.hpp"

namespace qsweep::model {
namespace {

using quant::FormatSpec;
using quant::LinearRole;
using quant::PackedMatrix;

// What can be taken from a model of the same checkpoint: everything it did not quantize.
class Shared {
 public:
  Shared(const Model* base, const Checkpoint& checkpoint) {
    if (base == nullptr || base->checkpoint.get() != &checkpoint) return;
    base_ = base;
    for_each_linear(*base, [&](const Linear& linear) {
      if (!linear.quantized) weights_[linear.name] = linear.weight;
    });
  }
  const Model* base() const { return base_; }
  std::shared_ptr<const PackedMatrix> weight(const std::string& linear) const {
    const auto found = weights_.find(linear);
    return found == weights_.end() ? nullptr : found->second;
  }

 private:
  const Model* base_ = nullptr;
  std::map<std::string, std::shared_ptr<const PackedMatrix>> weights_;
};

class Builder {
 public:
  Builder(Model& model, const device::Context& context, const Model* base, LoadReport* report,
          RawWeights raw, const ActivationRanges& ranges)
      : model_(model),
        config_(model.config),
        checkpoint_(*model.checkpoint),
        context_(context),
        shared_(base, checkpoint_),
        raw_(checkpoint_, context, raw),
        ranges_(ranges),
        report_(report) {}

  void use_packed_folder() {
    file_ = read_quantization(checkpoint_.folder());
    if (!file_ || file_->dequantized) {
      file_.reset();
      return;
    }
    quant::QuantConfig& asked = model_.quantization;
    const bool nothing_asked = asked.scope.empty() && asked.layers.empty() && !asked.weights &&
                               asked.activations.id == quant::ActivationId::none;
    if (!nothing_asked && !same_config(asked, file_->config)) {
      throw_invalid(checkpoint_.folder().string() + " was quantized under another config",
                    "its quantization.json differs from config '" + asked.name + "'",
                    "leave the config empty, or start from the original checkpoint");
    }
    const std::string name = asked.name;
    asked = file_->config;
    if (!name.empty()) asked.name = name;
    if (report_ != nullptr) report_->quantize_seconds = 0;
  }

  void build() {
    const int64_t hidden = config_.hidden;
    model_.embedding = embedding();
    for (int64_t layer = 0; layer < config_.layers; ++layer) model_.blocks.push_back(block(layer));
    model_.final_norm = vector("model.norm.weight", hidden);
    model_.head = head();
    check_all_packed_used();
    build_rope();
    hash_packed();
    raw_.wait();
    if (report_ != nullptr) raw_.tell(*report_);
  }

 private:
  static bool same_config(quant::QuantConfig a, quant::QuantConfig b) {
    a.name = b.name = "";
    a.duplicate_of = b.duplicate_of = "";
    return quant::to_json(a) == quant::to_json(b);
  }

  std::shared_ptr<const PackedMatrix> embedding() {
    if (shared_.base() != nullptr) return shared_.base()->embedding;
    return raw_.matrix("model.embed_tokens.weight", config_.vocab, config_.hidden);
  }

  Vector vector(const std::string& tensor, int64_t n) {
    const TensorView& view = checkpoint_.tensor(tensor, {n});
    return placed(to_fp32(view, checkpoint_.place(tensor), device::MemoryClass::weights));
  }

  Vector placed(Matrix matrix) const {
    if (matrix.buffer.place() != model_.place) {
      matrix.buffer = device::copy_of(matrix.buffer, device::MemoryClass::weights, model_.place);
    }
    return std::make_shared<Matrix>(std::move(matrix));
  }

  // Shape, role and place of one linear; then its weight by whatever way the config says.
  Linear linear(const std::string& name, LinearRole role, int64_t layer, int64_t out, int64_t in,
                bool bias = false) {
    Linear result;
    result.name = name;
    result.role = role;
    result.layer = layer;
    result.calls = std::make_shared<device::KernelCalls>();
    if (bias) result.bias = vector(name + ".bias", out);
    result.activations = rounding(result);
    if (file_) {
      const auto found = file_->tensors.find(name);
      if (found != file_->tensors.end()) {
        load_from_file(found->second, out, in, result);
        return result;
      }
    } else if (const auto spec =
                   quant::weight_format(model_.quantization, role, layer, config_.layers)) {
      quantize(*spec, out, in, result);
      if (result.weight) return result;
    }
    result.weight = unquantized(result, out, in);
    return result;
  }

  quant::ActivationRounding rounding(const Linear& linear) const {
    const auto format =
        quant::activation_format(model_.quantization, linear.role, linear.layer, config_.layers);
    if (!kernels::rounds(context_, format)) return {};
    const bool needs_range = quant::needs_activation_ranges(model_.quantization);
    return {format, needs_range ? range_of(linear) : 0.0f};
  }

  // Of the linear's calibrated input: the packed folder's, else what the caller measured.
  float range_of(const Linear& linear) const {
    if (file_) {
      const auto entry = file_->tensors.find(linear.name);
      if (entry != file_->tensors.end()) return entry->second.activation_absmax;
    }
    const auto found = ranges_.find(linear.name);
    if (found != ranges_.end()) return found->second;
    throw_invalid("the range of what enters '" + linear.name + "' is not known",
                  "config '" + model_.quantization.name + "' has static activation scales",
                  "measure it on calibration data first");
  }

  bool tied(const Linear& linear) const {
    return linear.role == LinearRole::lm_head && config_.tied_embeddings;
  }
  // Where the checkpoint keeps the linear's values.
  std::string tensor_of(const Linear& linear) const {
    return tied(linear) ? "model.embed_tokens.weight" : linear.name + ".weight";
  }

  std::shared_ptr<const PackedMatrix> unquantized(const Linear& linear, int64_t out, int64_t in) {
    if (tied(linear)) return model_.embedding;
    if (auto weight = shared_.weight(linear.name)) return weight;
    return raw_.matrix(tensor_of(linear), out, in);
  }

  void load_from_file(const QuantizationFile::Tensor& entry, int64_t out, int64_t in,
                      Linear& result) {
    if (entry.error.rows != out || entry.error.cols != in) {
      throw_invalid(
          checkpoint_.folder().string() + "/quantization.json: '" + result.name +
              "' has the wrong shape",
          "config.json makes it [" + std::to_string(out) + ", " + std::to_string(in) + "]");
    }
    result.weight = std::make_shared<PackedMatrix>(
        quant::placed(load_packed(checkpoint_, result.name, entry), model_.place));
    result.quantized = true;
    result.hash_when_packed = entry.hash;
    if (report_ != nullptr) report_->errors.push_back(entry.error);
    ++packed_used_;
  }

  // Leaves the weight null where the checkpoint already has the format asked for.
  void quantize(const FormatSpec& spec, int64_t out, int64_t in, Linear& result) {
    const std::string tensor = tensor_of(result);
    const TensorView& view = checkpoint_.tensor(tensor, {out, in});
    if (spec.id == raw_format(view, checkpoint_.place(tensor))) return;
    const std::string problem = quant::shape_problem(spec, out, in);
    if (!problem.empty()) {
      throw_invalid("'" + result.name + "' cannot be stored as " + quant::to_string(spec), problem);
    }
    result.quantized = true;
    result.weight = std::make_shared<PackedMatrix>(
        model_.place == device::Place::gpu ? quantize_on_gpu(spec, result, out, in)
                                           : quantize_on_host(spec, view, result, out, in));
  }

  void report(double seconds, const quant::TensorError& error) {
    report_->quantize_seconds += seconds;
    report_->errors.push_back(error);
  }

  PackedMatrix quantize_on_host(const FormatSpec& spec, const TensorView& view,
                                const Linear& linear, int64_t out, int64_t in) {
    const Matrix values = to_fp32(view, checkpoint_.place(tensor_of(linear)));
    const std::span<const float> weights(values.data(), static_cast<size_t>(out * in));
    const Stopwatch watch;
    PackedMatrix packed = quant::quantize_rtn(spec, weights, out, in, context_.threads);
    const double seconds = watch.seconds();
    if (report_ != nullptr) {
      report(seconds, quant::measure_error(linear.name, linear.layer, packed, weights));
    }
    return packed;
  }

  PackedMatrix quantize_on_gpu(const FormatSpec& spec, const Linear& linear, int64_t out,
                               int64_t in) {
    const std::shared_ptr<const PackedMatrix> weights = weights_on_gpu(linear, out, in);
    const Stopwatch watch;
    PackedMatrix packed = kernels::quantize(context_, spec, *weights);
    const double seconds = watch.seconds();
    if (report_ != nullptr) {
      const auto sums = kernels::quantization_error(context_, packed, *weights);
      report(seconds, quant::measure_error(linear.name, linear.layer, packed, sums));
    }
    return packed;
  }

  // The weights to be quantized: the base's where it has them, else read for this one use.
  std::shared_ptr<const PackedMatrix> weights_on_gpu(const Linear& linear, int64_t out,
                                                     int64_t in) {
    if (auto weight = shared_.weight(linear.name)) return weight;
    if (tied(linear) && shared_.base() != nullptr) return model_.embedding;
    return raw_.read_now(tensor_of(linear), out, in);
  }

  // Together at the end, so that all pieces are hashed at once.
  void hash_packed() {
    std::vector<Linear*> fresh;
    std::vector<const PackedMatrix*> matrices;
    for_each_linear(model_, [&](Linear& linear) {
      if (!linear.quantized || !linear.hash_when_packed.empty()) return;
      fresh.push_back(&linear);
      matrices.push_back(linear.weight.get());
    });
    const auto hashes = kernels::packed_hashes(context_, matrices);
    for (size_t i = 0; i < fresh.size(); ++i) fresh[i]->hash_when_packed = hashes[i];
  }

  std::vector<Linear> qkv(const std::string& prefix, int64_t layer) {
    const int64_t q = config_.heads * config_.head_dim, kv = config_.kv_heads * config_.head_dim;
    std::vector<Linear> result;
    if (config_.family == Family::phi3) {
      result.push_back(
          linear(prefix + "qkv_proj", LinearRole::qkv, layer, q + 2 * kv, config_.hidden));
      return result;
    }
    const bool bias = config_.qkv_bias;
    result.push_back(linear(prefix + "q_proj", LinearRole::q, layer, q, config_.hidden, bias));
    result.push_back(linear(prefix + "k_proj", LinearRole::k, layer, kv, config_.hidden, bias));
    result.push_back(linear(prefix + "v_proj", LinearRole::v, layer, kv, config_.hidden, bias));
    return result;
  }

  std::vector<Linear> gate_up(const std::string& prefix, int64_t layer) {
    const int64_t ffn = config_.ffn, hidden = config_.hidden;
    std::vector<Linear> result;
    if (config_.family == Family::phi3) {
      result.push_back(
          linear(prefix + "gate_up_proj", LinearRole::gate_up, layer, 2 * ffn, hidden));
      return result;
    }
    result.push_back(linear(prefix + "gate_proj", LinearRole::gate, layer, ffn, hidden));
    result.push_back(linear(prefix + "up_proj", LinearRole::up, layer, ffn, hidden));
    return result;
  }

  Block block(int64_t layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
    const int64_t hidden = config_.hidden;
    Block result;
    result.attention_norm = vector(prefix + "input_layernorm.weight", hidden);
    result.qkv = qkv(attention, layer);
    if (config_.qk_norm) {
      result.q_norm = vector(attention + "q_norm.weight", config_.head_dim);
      result.k_norm = vector(attention + "k_norm.weight", config_.head_dim);
    }
    result.o = linear(attention + "o_proj", LinearRole::o, layer, hidden,
                      config_.heads * config_.head_dim);
    result.mlp_norm = vector(prefix + "post_attention_layernorm.weight", hidden);
    result.gate_up = gate_up(mlp, layer);
    result.down = linear(mlp + "down_proj", LinearRole::down, layer, hidden, config_.ffn);
    return result;
  }

  Linear head() {
    return linear("lm_head", LinearRole::lm_head, -1, config_.vocab, config_.hidden);
  }

  // Every entry is a linear of the model, and every packed tensor has an entry.
  void check_all_packed_used() const {
    if (!file_) return;
    const std::string place = checkpoint_.folder().string() + "/quantization.json";
    if (packed_used_ != file_->tensors.size()) {
      throw_invalid(place + " names unknown linears",
                    std::to_string(file_->tensors.size() - packed_used_) +
                        " of them are not in the model of config.json");
    }
    constexpr std::string_view suffix = ".weight.codes";
    for (const auto& [name, view] : checkpoint_.tensors()) {
      if (name.ends_with(suffix) &&
          !file_->tensors.contains(name.substr(0, name.size() - suffix.size()))) {
        throw_invalid(place + " has no entry for a packed tensor", name);
      }
    }
  }

  Vector frequencies(const std::vector<float>& values) const {
    Matrix matrix(1, static_cast<int64_t>(values.size()), device::MemoryClass::weights);
    std::copy(values.begin(), values.end(), matrix.data());
    return placed(std::move(matrix));
  }

  void build_rope() {
    const RopeConfig& rope = config_.rope;
    const int64_t dim = config_.head_dim;
    if (rope.kind == RopeKind::longrope) {
      model_.rope_short =
          frequencies(kernels::rope_frequencies_longrope(rope.theta, dim, rope.short_factor));
      model_.rope_long =
          frequencies(kernels::rope_frequencies_longrope(rope.theta, dim, rope.long_factor));
    } else if (rope.kind == RopeKind::llama3) {
      model_.rope_short = frequencies(kernels::rope_frequencies_llama3(
          rope.theta, dim,
          {rope.factor, rope.low_freq_factor, rope.high_freq_factor, rope.original_max_positions}));
    } else {
      model_.rope_short = frequencies(kernels::rope_frequencies(rope.theta, dim));
    }
  }

  Model& model_;
  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
  const device::Context& context_;
  Shared shared_;
  RawMatrices raw_;
  const ActivationRanges& ranges_;
  LoadReport* report_;
  std::optional<QuantizationFile> file_;
  size_t packed_used_ = 0;
};

}  // namespace

std::shared_ptr<Model> build_model(std::shared_ptr<const Checkpoint> checkpoint,
                                   const quant::QuantConfig& config, const device::Context& context,
                                   const Model* base, LoadReport* report, RawWeights raw,
                                   const ActivationRanges& ranges) {
  if (checkpoint->config().is_ssm()) {
    throw Error(ErrorKind::unavailable, "mamba2 models are not available yet",
                "the engine of state-space models is not in this build");
  }
  const std::string problem = quant::config_problem(config, checkpoint->config().is_ssm());
  if (!problem.empty()) {
    const bool later = problem.starts_with("not available yet");
    throw Error(later ? ErrorKind::unavailable : ErrorKind::invalid_input,
                "config '" + config.name + "' cannot run", problem);
  }
  auto model = std::make_shared<Model>();
  model->checkpoint = std::move(checkpoint);
  model->config = model->checkpoint->config();
  model->quantization = config;
  model->compute = context.compute;
  model->place = context.place();
  Builder builder(*model, context, base, report, raw, ranges);
  builder.use_packed_folder();
  builder.build();
  return model;
}

}  // namespace qsweep::model
