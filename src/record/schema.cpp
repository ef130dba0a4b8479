#include "record/schema.hpp"

#include <algorithm>
#include <array>

namespace qsweep::record::schema {
namespace {

constexpr auto attribute_table = std::to_array<AttributeInfo>({
    {"schema_version", Type::integer, "version of this table"},
    {"run_id", Type::text, "hash of the fully resolved content of the run"},
    {"study", Type::text, "name of the study"},
    {"config", Type::text, "config id"},
    {"duplicate_of", Type::text, "A/A duplicate: the config that this one repeats, else empty"},
    {"workload", Type::text, "name of the workload"},
    {"workload_kind", Type::text, "kind of the workload: prefix of its metrics"},
    {"lengths", Type::text, "lengths of the cell, as in the path"},
    {"repeat", Type::integer, "repeat, from 0"},
    {"model", Type::text, "model as the study names it"},
    {"model_fingerprint", Type::text, "hash of the model's files"},
    {"status", Type::text, "ok, failed, or unproven"},
    {"error", Type::text, "why the run failed or is unproven, else empty"},
    {"w_bits", Type::integer, "bits of a weight in scope"},
    {"a_bits", Type::integer, "bits of an activation entering a linear in scope"},
    {"kv_bits", Type::integer, "bits of a cached key or value element"},
    {"group_size", Type::integer, "weights sharing a scale; 0 per channel, -1 per tensor"},
    {"per_channel", Type::integer, "1 if scales are one a row"},
    {"scale_format", Type::text, "codec of the scales"},
    {"quant_method", Type::text, "how codes and scales were chosen"},
    {"quant_backend", Type::text, "where the quantization ran"},
    {"calib_method", Type::text, "calibration data and size, or none"},
    {"weight_format", Type::text, "format of the weights in scope"},
    {"config_json", Type::text, "the config in canonical form"},
    {"protocol", Type::text, "what a quality figure depends on beside the model, as JSON"},
    {"protocol_fingerprint", Type::text,
     "hash of protocol; figures of different ones are not compared"},
    {"backend", Type::text, "cpu or cuda"},
    {"compute", Type::text, "type of activations between ops"},
    {"threads", Type::integer, "threads of the rank"},
    {"seed", Type::integer, "seed of the study"},
    {"start", Type::text, "UTC time of the start"},
    {"end", Type::text, "UTC time of the end"},
    {"seconds", Type::real, "wall time of the run [s]"},
    {"load_seconds", Type::real, "of these, making the configs of the run resident [s]"},
    {"attempt", Type::integer, "attempt, from 1"},
    {"qsweep_version", Type::text, "version of the program"},
    {"git_commit", Type::text, "commit the program was built from"},
    {"git_dirty", Type::integer, "1 if the tree had uncommitted changes at build time"},
    {"compiler", Type::text, "compiler and version"},
    {"host", Type::text, "host name"},
    {"cpu", Type::text, "processor model"},
    {"rank", Type::integer, "MPI rank"},
    {"ranks", Type::integer, "MPI ranks of the job"},
    {"slurm_job_id", Type::text, "Slurm job, or empty"},
    {"slurm_array_task_id", Type::text, "Slurm array task, or empty"},
    {"slurm_restart_count", Type::text, "requeues of the Slurm job, or empty"},
    {"gpu_name", Type::text, "GPU, or empty"},
    {"gpu_uuid", Type::text, "UUID of the GPU, or empty"},
    {"driver", Type::text, "GPU driver, or empty"},
    {"cuda", Type::text, "CUDA runtime, or empty"},
    {"clocks", Type::text, "SM and memory clocks before and after, or empty"},
    {"throttle_reasons", Type::text, "throttle reasons seen, or empty"},
    {"certificate_digest", Type::text, "hash over the rows of the certificate"},
    {"certificate_problem", Type::text, "why the certificate does not hold, else empty"},
});

using enum Scale;
using enum Better;
constexpr auto metric_table = std::to_array<MetricInfo>({
    {"profile.ttft_ms", "ms", "time to first token: submission to first output token", ratio, lower,
     false, "", ""},
    {"profile.tpot_ms", "ms", "time per output token: (end to end - ttft) / (output tokens - 1)",
     ratio, lower, false, "", ""},
    {"profile.first_decode_ms", "ms", "first decode step", ratio, lower, false, "", ""},
    {"profile.e2e_ms", "ms", "submission to last output token", ratio, lower, false, "", ""},
    {"profile.prefill_tokens_per_s", "1/s", "prompt tokens per second of prefill", ratio, higher,
     false, "", ""},
    {"profile.decode_tokens_per_s", "1/s", "output tokens per second of decode", ratio, higher,
     false, "", ""},
    {"profile.prefill_peak_bytes", "byte", "peak memory of prefill", ratio, lower, false, "", ""},
    {"profile.decode_peak_bytes", "byte", "peak memory of decode", ratio, lower, false, "", ""},
    {"profile.process_peak_bytes", "byte", "peak resident set of the process", ratio, lower, false,
     "", ""},
    {"profile.weight_bytes", "byte", "resident bytes of all weights", ratio, lower, true, "", ""},
    {"profile.state_bytes", "byte", "resident bytes of the cache or state", ratio, lower, true, "",
     ""},
    {"profile.prefill_flops", "1", "floating-point operations that prefill needs", ratio, neither,
     true, "", ""},
    {"profile.prefill_bytes", "byte", "bytes that prefill must read", ratio, neither, true, "", ""},
    {"profile.decode_flops", "1", "operations that a decoded token needs, mean", ratio, neither,
     true, "", ""},
    {"profile.decode_bytes", "byte", "bytes that a decoded token must read, mean", ratio, neither,
     true, "", ""},
    {"profile.ceiling_bytes_per_s", "byte/s", "streaming read measured in this process", ratio,
     higher, false, "", ""},
    {"profile.ceiling_flops_per_s", "1/s", "matrix rate measured in this process", ratio, higher,
     false, "", ""},
    {"profile.prefill_fraction", "1", "roofline time of prefill over its time", ratio, higher,
     false, "", ""},
    {"profile.decode_fraction", "1", "roofline time of a decoded token over its time", ratio,
     higher, false, "", ""},
    {"profile.energy_j", "J", "energy of the timed part; NaN where there is no counter", ratio,
     lower, false, "", ""},
    {"perplexity.nll", "nat/token", "mean negative log-likelihood of a token", additive, lower,
     true, "samples/window_nll", "samples/window_tokens"},
    {"perplexity.ppl", "1", "exp of nll: perplexity per token", ratio, lower, true, "", ""},
    {"perplexity.word_ppl", "1",
     "exp of total nll per word; words in proportion to the scored tokens", ratio, lower, true, "",
     ""},
    {"perplexity.byte_ppl", "1",
     "exp of total nll per UTF-8 byte, bytes in proportion to the scored tokens", ratio, lower,
     true, "", ""},
    {"perplexity.bits_per_byte", "bit/byte",
     "total nll in bits per UTF-8 byte, bytes in proportion to the scored tokens", ratio, lower,
     true, "", ""},
    {"perplexity.tokens", "1", "scored tokens", ratio, neither, true, "", ""},
    {"perplexity.kl", "nat/token", "KL divergence from the baseline config, mean over tokens",
     additive, lower, true, "samples/window_kl", "samples/window_tokens"},
    {"perplexity.top1_agreement", "1", "share of tokens whose best guess equals the baseline's",
     additive, higher, true, "samples/window_top1_agreement", "samples/window_tokens"},
    {"perplexity.tokens_per_s", "1/s", "scored tokens per second", ratio, higher, false, "", ""},
    {"synthetic.value", "1", "deterministic number of the synthetic workload", additive, lower,
     true, "samples/synthetic_items", ""},
    {"synthetic.seconds", "s", "time slept", ratio, lower, false, "", ""},
});

constexpr auto dataset_table = std::to_array<DatasetInfo>({
    {"samples/token_latency_ms", Type::real, "ms",
     "time from the token before to this one's arrival at the host; the first is TTFT", "token"},
    {"samples/output_ids", Type::integer, "1", "token ids generated by the timed part", "token"},
    {"samples/window_nll", Type::real, "nat/token", "mean nll of the tokens scored in a window",
     "window"},
    {"samples/window_tokens", Type::integer, "1", "tokens scored in a window", "window"},
    {"samples/window_begin", Type::integer, "1", "first token of a window", "window"},
    {"samples/window_kl", Type::real, "nat/token",
     "mean KL divergence from the baseline in a window", "window"},
    {"samples/window_top1_agreement", Type::real, "1",
     "share of a window's tokens with the baseline's best guess", "window"},
    {"samples/synthetic_items", Type::real, "1", "items of the synthetic workload", "item"},
    {"layers/tensor", Type::text, "1", "linear that was quantized", "tensor"},
    {"layers/layer", Type::integer, "1", "block of the linear, -1 outside", "tensor"},
    {"layers/format", Type::text, "1", "format of the linear", "tensor"},
    {"layers/relative_mse", Type::real, "1", "squared error of the weights over their squared norm",
     "tensor"},
    {"layers/worst_group", Type::real, "1", "largest relative squared error of a group", "tensor"},
    {"layers/cosine", Type::real, "1", "cosine similarity of original and quantized weights",
     "tensor"},
    {"layers/code_bytes", Type::integer, "byte", "bytes of codes", "tensor"},
    {"layers/scale_bytes", Type::integer, "byte", "bytes of scales and zeros", "tensor"},
    {"certificate/tensor", Type::text, "1", "linear", "linear"},
    {"certificate/format", Type::text, "1", "format found resident", "linear"},
    {"certificate/expected_format", Type::text, "1", "format that the config promises", "linear"},
    {"certificate/bytes", Type::integer, "byte", "resident bytes", "linear"},
    {"certificate/formula_bytes", Type::integer, "byte", "bytes by the format's formula", "linear"},
    {"certificate/hash_packed", Type::text, "1",
     "hash of the packed bytes after quantization, by src/quant/format/packed_hash.hpp", "linear"},
    {"certificate/hash_after", Type::text, "1", "the same of the packed bytes after the run",
     "linear"},
    {"certificate/kernels", Type::text, "1", "kernels called for this linear, with counts",
     "linear"},
    {"certificate/calls", Type::integer, "1", "kernel calls for this linear", "linear"},
    {"certificate/expected_calls", Type::integer, "1",
     "calls that the forward passes of the run need", "linear"},
    {"certificate/activations", Type::text, "1",
     "format that inputs of this linear were rounded to, by the kernels called; none: taken as "
     "they "
     "are",
     "linear"},
    {"certificate/expected_activations", Type::text, "1",
     "format of inputs that the config promises", "linear"},
    {"certificate/activation_calls", Type::integer, "1",
     "kernel calls that rounded inputs of this linear", "linear"},
    {"certificate/activation_absmax", Type::real, "1",
     "calibrated magnitude behind a static scale of inputs; NaN where there is none", "linear"},
    {"certificate/sqnr_db", Type::real, "dB",
     "signal to quantization noise; NaN where not quantized", "linear"},
    {"certificate/sqnr_low_db", Type::real, "dB", "lower edge of the band the format promises",
     "linear"},
    {"certificate/sqnr_high_db", Type::real, "dB", "upper edge of the band the format promises",
     "linear"},
    {"certificate/canary", Type::real, "1",
     "relative difference of canary logits from the baseline; none where it holds the same weights",
     "canary"},
});

template <class Table>
auto find_in(const Table& table, std::string_view name, std::string_view Table::value_type::*key)
    -> const typename Table::value_type* {
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const auto& row) { return row.*key == name; });
  return found == table.end() ? nullptr : &*found;
}

std::string_view type_name(Type type) {
  return type == Type::integer ? "int64" : type == Type::real ? "float64" : "UTF-8";
}

}  // namespace

std::span<const AttributeInfo> attributes() {
  return attribute_table;
}
std::span<const MetricInfo> metrics() {
  return metric_table;
}
std::span<const DatasetInfo> datasets() {
  return dataset_table;
}

const AttributeInfo* find_attribute(std::string_view name) {
  return find_in(attribute_table, name, &AttributeInfo::name);
}
const MetricInfo* find_metric(std::string_view name) {
  return find_in(metric_table, name, &MetricInfo::name);
}
const DatasetInfo* find_dataset(std::string_view path) {
  return find_in(dataset_table, path, &DatasetInfo::path);
}

std::string markdown() {
  std::string text =
      "# What a run's HDF5 file holds\n\nGenerated from `src/record/schema.cpp` by `qsweep inspect "
      "--schema`; schema version " +
      std::to_string(version) + ".\n";
  const auto row = [&text](std::initializer_list<std::string_view> cells) {
    for (const std::string_view cell : cells) text.append("| ").append(cell).append(" ");
    text.append("|\n");
  };
  text += "\n## Root attributes\n\n| name | type | meaning |\n|---|---|---|\n";
  for (const auto& a : attribute_table) row({a.name, type_name(a.type), a.meaning});
  text +=
      "\n## Metrics: scalars `/metrics/<name>`\n\n| name | units | meaning | compared | better | "
      "items |\n"
      "|---|---|---|---|---|---|\n";
  for (const auto& m : metric_table) {
    row({m.name, m.units, m.long_name, m.scale == ratio ? "as ratio" : "as difference",
         m.better == lower    ? "lower"
         : m.better == higher ? "higher"
                              : "-",
         m.items});
  }
  text +=
      "\n## Datasets\n\n| path | type | units | meaning | dimensions |\n|---|---|---|---|---|\n";
  for (const auto& d : dataset_table)
    row({d.path, type_name(d.type), d.units, d.long_name, d.dims});
  return text;
}

}  // namespace qsweep::record::schema
