// made_up_runs RUN_DIR: a record for every planned run that has none, as large as that of a real
// run on a model of some billion parameters, with made-up numbers. The names, the attributes and
// the tables are those that a run leaves; the certificate holds. For measuring what reads ten
// thousand of them.
//
//   linears       7 in each of 32 blocks and the head: 225 rows in `certificate` and in `layers`
//   profile       a latency and a token id for each of the 64 output tokens
//   perplexity    585 windows: 300,000 tokens at a stride of 512, as WikiText-2's test set
//   synthetic     64 items
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>

#include "base/clock.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"
#include "eval/certificate.hpp"
#include "record/provenance.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"
#include "sweep/plan/plan.hpp"

namespace {

namespace fs = std::filesystem;
using namespace qsweep;
using Entry = sweep::PlanManifest::Entry;
using record::RunRecord;
using Texts = std::vector<std::string>;
using Integers = std::vector<int64_t>;
using Reals = std::vector<double>;

constexpr int64_t blocks = 32, output_tokens = 64, windows = 585, items = 64;
constexpr double token_ms = 12;

Texts linear_names() {
  Texts names;
  for (int64_t block = 0; block < blocks; ++block) {
    for (const char* linear :
         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      names.push_back("model.layers." + std::to_string(block) + "." + linear);
    }
  }
  names.emplace_back("lm_head");
  return names;
}

// The same text, the same stream.
Rng stream(const std::string& text) {
  return Rng(std::stoull(sha256_hex(text).substr(0, 15), nullptr, 16));
}

Reals fill(size_t count, const std::function<double()>& next) {
  Reals values(count);
  for (double& value : values) value = next();
  return values;
}

// Packed bytes are the config's, so their hashes are too; errors and calls are the same at every
// repeat.
void put_tables(const std::string& config, RunRecord& record) {
  const Texts names = linear_names();
  const size_t n = names.size();
  Rng rng = stream("weights of " + config);
  Texts hashes;
  for (const std::string& name : names) hashes.push_back(sha256_hex(config + name));
  const std::string format = "int4 g128 e5m5";
  record.put("certificate/tensor", names);
  record.put("certificate/format", Texts(n, format));
  record.put("certificate/expected_format", Texts(n, format));
  record.put("certificate/hash_packed", hashes);
  record.put("certificate/hash_after", hashes);
  record.put("certificate/kernels",
             Texts(n, "linear/gemm_tile/int4_g128_e5m5 x2, linear/gemv/int4_g128_e5m5 x126"));
  for (const char* bytes : {"certificate/bytes", "certificate/formula_bytes"})
    record.put(bytes, Integers(n, 8'650'752));
  for (const char* calls : {"certificate/calls", "certificate/expected_calls"})
    record.put(calls, Integers(n, 128));
  for (const char* format_of : {"certificate/activations", "certificate/expected_activations"})
    record.put(format_of, Texts(n, "none"));
  record.put("certificate/activation_calls", Integers(n, 0));
  record.put("certificate/activation_absmax", Reals(n, std::nan("")));
  const Reals sqnr = fill(n, [&] { return 18 + rng.uniform(); });
  record.put("certificate/sqnr_db", sqnr);
  record.put("certificate/sqnr_low_db", Reals(n, 5));
  record.put("certificate/sqnr_high_db", Reals(n, 25));
  record.put("certificate/canary", Reals{0.05});
  Integers layer;
  for (size_t i = 0; i < n; ++i) layer.push_back(i + 1 < n ? static_cast<int64_t>(i) / 7 : -1);
  record.put("layers/tensor", names);
  record.put("layers/format", Texts(n, format));
  record.put("layers/layer", std::move(layer));
  Reals mse;
  for (const double db : sqnr) mse.push_back(std::pow(10, -db / 10));
  record.put("layers/relative_mse", std::move(mse));
  record.put("layers/worst_group", fill(n, [&] { return 0.03 + 0.1 * rng.uniform(); }));
  record.put("layers/cosine", fill(n, [&] { return 1 - 0.01 * rng.uniform(); }));
  record.put("layers/code_bytes", Integers(n, 8'388'608));
  record.put("layers/scale_bytes", Integers(n, 262'144));
  record.set("certificate_digest", eval::certificate_digest(record));
  record.set("certificate_problem", std::string());
}

void put_profile(const Entry& entry, RunRecord& record) {
  Rng rng = stream(entry.id);
  Reals latency = fill(output_tokens, [&] { return token_ms * (1 + 0.02 * rng.uniform()); });
  latency[0] *= 10;
  double rest = 0;
  for (size_t i = 1; i < latency.size(); ++i) rest += latency[i];
  for (const auto& metric : record::schema::metrics()) {
    if (metric.name.starts_with("profile.")) record.metric(std::string(metric.name), 1e9);
  }
  record.metric("profile.ttft_ms", latency[0]);
  record.metric("profile.tpot_ms", rest / (output_tokens - 1));
  record.metric("profile.e2e_ms", latency[0] + rest);
  Integers ids;
  for (int64_t i = 0; i < output_tokens; ++i) ids.push_back(rng.below(32'000));
  record.put("samples/token_latency_ms", std::move(latency));
  record.put("samples/output_ids", std::move(ids));
}

// Quality is the same bits at every repeat, so the stream is the cell's.
void put_perplexity(const Entry& entry, RunRecord& record) {
  Rng rng = stream(entry.config + entry.workload + entry.lengths);
  const Reals nll = fill(windows, [&] { return 2 + rng.uniform(); });
  Integers tokens(windows, 512), begin;
  tokens[0] = 2048;
  double sum = 0, total = 0;
  for (size_t i = 0; i < nll.size(); ++i) {
    begin.push_back(static_cast<int64_t>(i) * 512);
    sum += nll[i] * static_cast<double>(tokens[i]);
    total += static_cast<double>(tokens[i]);
  }
  for (const auto& metric : record::schema::metrics()) {
    if (metric.name.starts_with("perplexity."))
      record.metric(std::string(metric.name), std::exp(sum / total));
  }
  record.metric("perplexity.nll", sum / total);
  record.put("samples/window_nll", nll);
  record.put("samples/window_tokens", std::move(tokens));
  record.put("samples/window_begin", std::move(begin));
  record.put("samples/window_kl", fill(windows, [&] { return 0.02 * rng.uniform(); }));
  record.put("samples/window_top1_agreement",
             fill(windows, [&] { return 1 - 0.1 * rng.uniform(); }));
}

void put_synthetic(const Entry& entry, RunRecord& record) {
  Rng rng = stream(entry.config + entry.workload + entry.lengths);
  record.metric("synthetic.value", rng.uniform());
  record.metric("synthetic.seconds", 0.01);
  record.put("samples/synthetic_items", fill(items, [&] { return rng.uniform(); }));
}

void set_attributes(const sweep::PlanManifest& plan, const Entry& entry, RunRecord& record) {
  for (const auto& info : record::schema::attributes()) {
    if (info.name == "schema_version") continue;
    if (info.type == record::schema::Type::integer) record.set(std::string(info.name), int64_t{1});
    if (info.type == record::schema::Type::real) record.set(std::string(info.name), 1.5);
    if (info.type == record::schema::Type::text) record.set(std::string(info.name), std::string());
  }
  record::set_provenance(record, entry.repeat % 8, 8);
  record.set("run_id", entry.id);
  record.set("study", plan.study);
  record.set("config", entry.config);
  record.set("workload", entry.workload);
  record.set("workload_kind", entry.kind);
  record.set("lengths", entry.lengths);
  record.set("repeat", entry.repeat);
  record.set("model", plan.model);
  record.set("status", std::string("ok"));
  record.set("config_json", std::string(600, 'c'));  // of about this length
  record.set("protocol", std::string(300, 'p'));
  record.set("protocol_fingerprint", sha256_hex("protocol of " + entry.workload + entry.lengths));
  record.set("start", utc_now_iso());
  record.set("end", utc_now_iso());
}

RunRecord made_up(const sweep::PlanManifest& plan, const Entry& entry) {
  RunRecord record;
  set_attributes(plan, entry, record);
  if (entry.kind == "profile") put_profile(entry, record);
  if (entry.kind == "perplexity") put_perplexity(entry, record);
  if (entry.kind == "synthetic") put_synthetic(entry, record);
  if (entry.kind != "synthetic") put_tables(entry.config, record);
  return record;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: made_up_runs RUN_DIR\n";
    return 2;
  }
  const fs::path folder = argv[1];
  const sweep::PlanManifest plan = sweep::read_plan_manifest(folder / "manifests" / "plan.json");
  for (const Entry& entry : plan.runs) {
    if (!fs::exists(folder / entry.path))
      record::write_record(folder / entry.path, made_up(plan, entry));
  }
  return 0;
} catch (const std::exception& error) {
  std::cerr << "made_up_runs: " << error.what() << "\n";
  return 1;
}
