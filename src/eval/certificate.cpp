#include "eval/certificate.hpp"

#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <span>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"
#include "kernels/activations/activations.hpp"
#include "kernels/packed_hash/packed_hash.hpp"

namespace qsweep::eval {
namespace {

using record::RunRecord;
using Counts = std::map<std::string, uint64_t, std::less<>>;  // by kernel

constexpr int64_t canary_tokens = 16;

template <class T>
const std::vector<T>& column(const RunRecord& record, const std::string& path) {
  const auto found = record.datasets.find(path);
  if (found == record.datasets.end() ||
      !std::holds_alternative<std::vector<T>>(found->second.values)) {
    throw_invalid("the certificate is incomplete", path + " is missing or of another type");
  }
  return std::get<std::vector<T>>(found->second.values);
}

model::Matrix canary_logits(const device::Context& context, model::Model& model) {
  Rng rng(0x63616E617279ull);  // "canary"
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < canary_tokens; ++i) {
    tokens.push_back(
        static_cast<int32_t>(rng.below(static_cast<uint32_t>(model::config_of(model).vocab))));
  }
  const auto state = model::make_state(model, canary_tokens);
  const model::Chunk chunk{state.get(), tokens};
  const model::Matrix hidden = model::forward(context, model, {&chunk, 1});
  return model::on_host(model::logits(context, model, hidden.data(), hidden.rows));
}

// Kernel names end with the format they decode ("linear/gemv/int4_g128_e5m5").
std::string kernel_suffix(std::string format) {
  std::replace(format.begin(), format.end(), ' ', '_');
  return "/" + format;
}

// Whether both hold the same formats and the same packed bytes, and round what they multiply alike.
bool same_linears(const model::Model& a, const model::Model& b) {
  const auto ours = model::linears(a), theirs = model::linears(b);
  return std::equal(ours.begin(), ours.end(), theirs.begin(), theirs.end(),
                    [](const model::Linear* x, const model::Linear* y) {
                      return x->weight->spec == y->weight->spec &&
                             x->hash_when_packed == y->hash_when_packed &&
                             x->activations == y->activations;
                    });
}

std::string expected_format(const quant::QuantConfig& config, const model::Model& model,
                            const model::Linear& linear) {
  const auto format =
      quant::weight_format(config, linear.role, linear.layer, model::config_of(model).layers);
  return format ? quant::to_string(*format) : std::string("unquantized");
}

std::string named(const std::string& activations) {
  return activations.empty() ? "none" : activations;
}

// From the config alone, as the weights' format is.
std::string expected_activations(const quant::QuantConfig& config, const model::Model& model,
                                 const model::Linear& linear) {
  const auto format =
      quant::activation_format(config, linear.role, linear.layer, model::config_of(model).layers);
  const bool changes = kernels::rounds({.compute = model::compute_of(model)}, format);
  return named(changes ? quant::to_string(format) : "");
}

// What one linear's ledger says of a run.
struct LinearCalls {
  std::string kernels;      // "linear/gemv/int4 x2, ..."
  int64_t resident = 0;     // calls that decode the resident format
  std::string activations;  // formats that inputs were rounded to
  int64_t activation_calls = 0;
};

LinearCalls calls_between(const Counts& before, const Counts& after, const std::string& format) {
  LinearCalls calls;
  const std::string suffix = kernel_suffix(format);
  std::set<std::string> activations;  // several kernels may round to one format
  for (const auto& [kernel, total] : after) {
    const auto found = before.find(kernel);
    const uint64_t count = total - (found == before.end() ? 0 : found->second);
    if (count == 0) continue;
    calls.kernels += (calls.kernels.empty() ? "" : ", ") + kernel + " x" + std::to_string(count);
    if (kernel.starts_with("activations/")) {
      activations.insert(kernel.substr(kernel.rfind('/') + 1));
      calls.activation_calls += static_cast<int64_t>(count);
    } else if (kernel.ends_with(suffix)) {
      calls.resident += static_cast<int64_t>(count);
    }
  }
  calls.activations = named(fmt::format("{}", fmt::join(activations, ", ")));
  return calls;
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

struct RoundingColumns {
  std::vector<std::string> found, expected;
  std::vector<int64_t> calls;
  std::vector<double> absmax;

  void add(const model::Linear& linear, const LinearCalls& run, const std::string& promised) {
    const quant::ActivationFormat& format = linear.activations.format;
    const bool fixed =
        quant::has_scales(format.id) && format.scale == quant::ActivationScale::tensor;
    found.push_back(run.activations);
    expected.push_back(promised);
    calls.push_back(run.activation_calls);
    absmax.push_back(fixed ? linear.activations.absmax : nan);
  }
  void put(RunRecord& record) {
    record.put("certificate/activations", std::move(found));
    record.put("certificate/expected_activations", std::move(expected));
    record.put("certificate/activation_calls", std::move(calls));
    record.put("certificate/activation_absmax", std::move(absmax));
  }
};

// A raw format that the checkpoint already has is wrapped, not made: there is no packing to compare
// with, and no error.
bool is_made(const model::Linear& linear) {
  return linear.quantized || quant::has_scales(linear.weight->spec.id);
}

// Of the linears that were made as the config promises, as their bytes are now.
std::map<const model::Linear*, std::string> hashes_of_promised(const device::Context& context,
                                                               const model::Model& model,
                                                               const quant::QuantConfig& config) {
  std::vector<const model::Linear*> promised;
  std::vector<const quant::PackedMatrix*> matrices;
  for (const model::Linear* linear : model::linears(model)) {
    if (expected_format(config, model, *linear) == "unquantized" || !is_made(*linear)) continue;
    promised.push_back(linear);
    matrices.push_back(linear->weight.get());
  }
  const std::vector<std::string> hashes = kernels::packed_hashes(context, matrices);
  std::map<const model::Linear*, std::string> result;
  for (size_t i = 0; i < promised.size(); ++i) result[promised[i]] = hashes[i];
  return result;
}

const quant::TensorError* find_error(const Residency& residency, const std::string& tensor) {
  const auto found =
      std::find_if(residency.errors.begin(), residency.errors.end(),
                   [&](const quant::TensorError& error) { return error.tensor == tensor; });
  return found == residency.errors.end() ? nullptr : &*found;
}

void put_errors(const Residency& residency, RunRecord& record) {
  std::vector<std::string> tensor, format;
  std::vector<int64_t> layer, code_bytes, scale_bytes;
  std::vector<double> relative_mse, worst_group, cosine;
  for (const quant::TensorError& error : residency.errors) {
    tensor.push_back(error.tensor);
    format.push_back(quant::to_string(error.spec));
    layer.push_back(error.layer);
    relative_mse.push_back(error.relative_mse);
    worst_group.push_back(error.worst_group);
    cosine.push_back(error.cosine);
    code_bytes.push_back(static_cast<int64_t>(error.code_bytes));
    scale_bytes.push_back(static_cast<int64_t>(error.scale_bytes));
  }
  record.put("layers/tensor", std::move(tensor));
  record.put("layers/format", std::move(format));
  record.put("layers/layer", std::move(layer));
  record.put("layers/relative_mse", std::move(relative_mse));
  record.put("layers/worst_group", std::move(worst_group));
  record.put("layers/cosine", std::move(cosine));
  record.put("layers/code_bytes", std::move(code_bytes));
  record.put("layers/scale_bytes", std::move(scale_bytes));
}

// Of row i: whether inputs were rounded in every call that multiplied them, as promised.
std::string rounding_problem(const RunRecord& record, size_t i) {
  const std::string& tensor = column<std::string>(record, "certificate/tensor")[i];
  const std::string& found = column<std::string>(record, "certificate/activations")[i];
  const std::string& promised = column<std::string>(record, "certificate/expected_activations")[i];
  if (found != promised) {
    return "inputs of " + tensor + " were rounded to " + found + ", the config promises " +
           promised;
  }
  const int64_t calls = column<int64_t>(record, "certificate/calls")[i];
  const int64_t rounded = column<int64_t>(record, "certificate/activation_calls")[i];
  if (rounded != (promised == "none" ? 0 : calls)) {
    return tensor + ": inputs of " + std::to_string(rounded) + " of " + std::to_string(calls) +
           " calls were rounded to " + promised;
  }
  if (promised.ends_with("_tensor") &&
      !(column<double>(record, "certificate/activation_absmax")[i] > 0)) {
    return tensor + ": its static scale comes from no calibrated magnitude";
  }
  return {};
}

// A name of a format without scales: "bf16", "fp16", "fp32".
bool is_raw(const std::string& format) {
  const auto id = parse_name<quant::FormatId>(format);
  return id && !quant::has_scales(*id);
}

// Why row i of the certificate does not hold, or empty.
std::string row_problem(const RunRecord& record, size_t i) {
  const std::string& tensor = column<std::string>(record, "certificate/tensor")[i];
  const std::string& format = column<std::string>(record, "certificate/format")[i];
  const std::string& expected = column<std::string>(record, "certificate/expected_format")[i];
  if (expected != "unquantized" && format != expected) {
    return tensor + " is resident as " + format + ", the config promises " + expected;
  }
  if (column<int64_t>(record, "certificate/bytes")[i] !=
      column<int64_t>(record, "certificate/formula_bytes")[i]) {
    return tensor + " takes other bytes than its format's formula";
  }
  if (column<std::string>(record, "certificate/hash_packed")[i] !=
      column<std::string>(record, "certificate/hash_after")[i]) {
    return "packed bytes of " + tensor + " changed after quantization";
  }
  const int64_t calls = column<int64_t>(record, "certificate/calls")[i];
  const int64_t expected_calls = column<int64_t>(record, "certificate/expected_calls")[i];
  if (calls != expected_calls) {
    return tensor + ": " + std::to_string(calls) +
           " calls of kernels that read its packed bytes, the run needs " +
           std::to_string(expected_calls);
  }
  if (std::string problem = rounding_problem(record, i); !problem.empty()) return problem;
  const bool as_checkpoint =
      is_raw(expected) && column<std::string>(record, "certificate/hash_packed")[i].empty();
  if (as_checkpoint) return {};
  const double sqnr = column<double>(record, "certificate/sqnr_db")[i];
  if (expected != "unquantized" &&
      !(sqnr >= column<double>(record, "certificate/sqnr_low_db")[i] &&
        sqnr <= column<double>(record, "certificate/sqnr_high_db")[i])) {
    return tensor + ": SQNR of " + std::to_string(sqnr) + " dB is outside the band of " + expected;
  }
  return {};
}

}  // namespace

std::optional<double> measure_canary(const device::Context& context, model::Model& model,
                                     model::Model& baseline) {
  if (same_linears(model, baseline)) return std::nullopt;
  const model::Matrix ours = canary_logits(context, model);
  const model::Matrix theirs = canary_logits(context, baseline);
  expect(ours.rows == theirs.rows && ours.cols == theirs.cols,
         "config and baseline share a vocabulary");
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < ours.rows * ours.cols; ++i) {
    const double a = ours.data()[i], b = theirs.data()[i];
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

Witness::Witness(const model::Model& model)
    : forwards_(model::forward_count(model)), heads_(model::head_count(model)) {
  for (const model::Linear* linear : model::linears(model))
    calls_[linear->name] = linear->calls->calls();
}

void Witness::finish(const device::Context& context, const model::Model& model,
                     const quant::QuantConfig& config, const Residency& residency,
                     RunRecord& record) const {
  const auto hashes = hashes_of_promised(context, model, config);
  std::vector<std::string> tensor, format, expected, hash_packed, hash_after, kernels;
  std::vector<int64_t> bytes, formula, calls, expected_calls;
  std::vector<double> sqnr, low, high;
  RoundingColumns rounding;
  const auto forwards = static_cast<int64_t>(model::forward_count(model) - forwards_);
  const auto heads = static_cast<int64_t>(model::head_count(model) - heads_);
  for (const model::Linear* linear : model::linears(model)) {
    const quant::PackedMatrix& weight = *linear->weight;
    tensor.push_back(linear->name);
    format.push_back(quant::to_string(weight.spec));
    expected.push_back(expected_format(config, model, *linear));
    bytes.push_back(static_cast<int64_t>(weight.bytes()));
    formula.push_back(
        static_cast<int64_t>(quant::packed_size(weight.spec, weight.rows, weight.cols).total()));
    const auto hash = hashes.find(linear);
    const bool promised = hash != hashes.end();
    hash_packed.push_back(promised ? linear->hash_when_packed : std::string());
    hash_after.push_back(promised ? hash->second : std::string());

    const auto before = calls_.find(linear->name);
    const LinearCalls run = calls_between(before == calls_.end() ? Counts{} : before->second,
                                          linear->calls->calls(), format.back());
    kernels.push_back(run.kernels);
    calls.push_back(run.resident);
    expected_calls.push_back(linear->layer < 0 ? heads : forwards);
    rounding.add(*linear, run, expected_activations(config, model, *linear));

    const quant::TensorError* error = find_error(residency, linear->name);
    const quant::SqnrBand band =
        promised ? quant::sqnr_band(weight.spec, weight.cols) : quant::SqnrBand{nan, nan};
    sqnr.push_back(error == nullptr ? nan : -10 * std::log10(error->relative_mse));
    low.push_back(band.low_db);
    high.push_back(band.high_db);
  }
  record.put("certificate/tensor", std::move(tensor));
  record.put("certificate/format", std::move(format));
  record.put("certificate/expected_format", std::move(expected));
  record.put("certificate/bytes", std::move(bytes));
  record.put("certificate/formula_bytes", std::move(formula));
  record.put("certificate/hash_packed", std::move(hash_packed));
  record.put("certificate/hash_after", std::move(hash_after));
  record.put("certificate/kernels", std::move(kernels));
  record.put("certificate/calls", std::move(calls));
  record.put("certificate/expected_calls", std::move(expected_calls));
  rounding.put(record);
  record.put("certificate/sqnr_db", std::move(sqnr));
  record.put("certificate/sqnr_low_db", std::move(low));
  record.put("certificate/sqnr_high_db", std::move(high));
  std::vector<double> canary;
  if (residency.canary) canary.push_back(*residency.canary);
  record.put("certificate/canary", std::move(canary));
  put_errors(residency, record);
  record.set("certificate_digest", certificate_digest(record));
  record.set("certificate_problem", certificate_problem(record));
}

std::string certificate_digest(const RunRecord& record) {
  Sha256 hash;
  for (const auto& [path, dataset] : record.datasets) {
    if (!path.starts_with("certificate/") && !path.starts_with("layers/")) continue;
    hash.update(path);
    std::visit(
        [&hash](const auto& values) {
          if constexpr (std::is_same_v<std::decay_t<decltype(values)>, std::vector<std::string>>) {
            std::string lines;  // one update a column: a call costs more than hashing a value
            for (const std::string& value : values) lines.append(value).append("\n");
            hash.update(lines);
          } else {
            hash.update(std::as_bytes(std::span(values)));
          }
        },
        dataset.values);
  }
  return hash.hex();
}

std::string certificate_problem(const RunRecord& record) {
  try {
    const auto digest = record.attributes.find("certificate_digest");
    if (digest == record.attributes.end()) return "there is no certificate";
    if (digest->second != record::Attribute(certificate_digest(record))) {
      return "the certificate was changed after it was written";
    }
    const size_t rows = column<std::string>(record, "certificate/tensor").size();
    for (const char* path : {"format", "expected_format", "hash_packed", "hash_after",
                             "activations", "expected_activations"}) {
      if (column<std::string>(record, std::string("certificate/") + path).size() != rows) {
        return "the certificate's columns differ in length";
      }
    }
    for (const char* path :
         {"bytes", "formula_bytes", "calls", "expected_calls", "activation_calls"}) {
      if (column<int64_t>(record, std::string("certificate/") + path).size() != rows) {
        return "the certificate's columns differ in length";
      }
    }
    for (const char* path : {"sqnr_db", "sqnr_low_db", "sqnr_high_db", "activation_absmax"}) {
      if (column<double>(record, std::string("certificate/") + path).size() != rows) {
        return "the certificate's columns differ in length";
      }
    }
    if (rows == 0) return "the certificate names no linear";
    bool promised = false;
    for (size_t i = 0; i < rows; ++i) {
      const std::string problem = row_problem(record, i);
      if (!problem.empty()) return problem;
      promised = promised ||
                 column<std::string>(record, "certificate/expected_format")[i] != "unquantized";
    }
    const std::vector<double>& canary = column<double>(record, "certificate/canary");
    if (!canary.empty() && !std::isfinite(canary[0])) return "the canary is not finite";
    if (promised && !canary.empty() && canary[0] == 0) {
      return "logits equal the baseline's: nothing was quantized in effect";
    }
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace qsweep::eval
