// A run folder made by hand: a plan from a study's YAML, and a record with made-up numbers for
// every run.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/files.hpp"
#include "base/rng.hpp"
#include "eval/certificate.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::reduce::test {

namespace fs = std::filesystem;
using Entry = sweep::PlanManifest::Entry;

inline const char* const study_yaml = R"(study: made-up
model: microsoft/Phi-3.5-mini-instruct
repeats: 3
baseline: C0
configs:
  C0: {}
  C3: {scope: mlp, weights: {format: int4, group: 128, scale: fp32}}
  C4: {scope: mlp, weights: {format: int4, group: 128, scale: e5m5}}
workloads:
  profile: {prompt: [128, 512], output: [64]}
  perplexity: {data: wikitext2, window: 2048, stride: 512}
  synthetic: {seconds: 0.01, items: 8}
claims:
  scales_cost_no_time: {equivalent: [C3, C4], metric: profile.tpot_ms, within: 1%}
  scales_cost_no_quality: {equivalent: [C3, C4], metric: perplexity.nll, within: 0.5%}
  slower_than_bf16: {better: [C0, C4], metric: profile.tpot_ms}
)";

// Reproducible noise in [-1, 1) of a run.
inline double noise(const Entry& entry, uint64_t salt) {
  uint64_t hash = splitmix64(salt);
  for (const char c :
       entry.config + entry.workload + entry.lengths + std::to_string(entry.repeat)) {
    hash = splitmix64(hash ^ static_cast<unsigned char>(c));
  }
  return static_cast<double>(hash >> 11) * 0x1.0p-52 - 1;
}

inline void seal_certificate(record::RunRecord& record) {
  record.set("certificate_digest", eval::certificate_digest(record));
}

inline void put_certificate(const std::string& config, bool quantized, record::RunRecord& record) {
  using Texts = std::vector<std::string>;
  using Integers = std::vector<int64_t>;
  using Reals = std::vector<double>;
  const std::string format = quantized ? "int4 g128" : "bf16", hash = "hash of " + config;
  record.put("certificate/tensor", Texts{"layers.0.down", "layers.1.down"});
  record.put("certificate/format", Texts{format, format});
  record.put("certificate/expected_format", Texts(2, quantized ? format : "unquantized"));
  for (const char* name : {"certificate/hash_packed", "certificate/hash_after"}) {
    record.put(name, Texts{hash + "0", hash + "1"});
  }
  record.put("certificate/kernels", Texts{"linear x7", "linear x7"});
  for (const char* name : {"certificate/bytes", "certificate/formula_bytes"})
    record.put(name, Integers{640, 640});
  for (const char* name : {"certificate/calls", "certificate/expected_calls"})
    record.put(name, Integers{7, 7});
  for (const char* name : {"certificate/activations", "certificate/expected_activations"})
    record.put(name, Texts(2, quantized ? "int8_token" : "none"));
  record.put("certificate/activation_calls", Integers(2, quantized ? 7 : 0));
  record.put("certificate/activation_absmax", Reals(2, std::nan("")));
  record.put("certificate/sqnr_db", Reals{20, 21});
  record.put("certificate/sqnr_low_db", Reals{18, 18});
  record.put("certificate/sqnr_high_db", Reals{25, 25});
  record.put("certificate/canary", Reals{quantized ? 0.01 : 0.0});
  seal_certificate(record);
}

// tpot: C0 5 ms, others 3 ms, noise of 0.1 %. nll: C0 lowest; C3 and C4 0.02 apart from it, 1e-4
// from each other.
inline record::RunRecord made_up(const Entry& entry) {
  record::RunRecord record;
  const bool quantized = entry.config == "C3" || entry.config == "C4";
  record.set("schema_version", record::schema::version);
  record.set("run_id", entry.id);
  record.set("config", entry.config);
  record.set("workload", entry.workload);
  record.set("workload_kind", entry.kind);
  record.set("lengths", entry.lengths);
  record.set("repeat", entry.repeat);
  record.set("status", std::string("ok"));
  record.set("error", std::string());
  record.set("w_bits", int64_t{quantized ? 4 : 16});
  record.set("group_size", int64_t{quantized ? 128 : 0});
  record.set("scale_format", std::string(entry.config == "C4"   ? "e5m5"
                                         : entry.config == "C3" ? "fp32"
                                                                : "none"));
  record.set("rank", entry.repeat % 2);
  record.set("start", "2026-01-31T12:00:0" + std::to_string(entry.repeat) + "Z");
  record.set("end", "2026-01-31T12:01:0" + std::to_string(entry.repeat) + "Z");
  record.set("seconds", 2.5);
  record.set("protocol_fingerprint", "protocol of " + entry.workload);
  if (entry.kind == "profile") {
    record.metric("profile.tpot_ms", (quantized ? 3.0 : 5.0) * (1 + 1e-3 * noise(entry, 1)));
    record.metric("profile.ttft_ms", (quantized ? 30.0 : 20.0) * (1 + 1e-3 * noise(entry, 2)));
    record.metric("profile.weight_bytes", quantized ? 2e9 : 7e9);
  } else if (entry.kind == "perplexity") {
    std::vector<double> nll;
    std::vector<int64_t> tokens;
    double sum = 0, total = 0;
    for (uint64_t i = 0; i < 20; ++i) {
      const double shift = quantized ? 0.02 + 1e-4 * (entry.config == "C4") : 0.0;
      nll.push_back(2 + 0.1 * static_cast<double>(splitmix64(i) % 7) + shift);
      tokens.push_back(i == 0 ? 2047 : 512);
      sum += nll.back() * static_cast<double>(tokens.back());
      total += static_cast<double>(tokens.back());
    }
    record.metric("perplexity.nll", sum / total);
    record.metric("perplexity.ppl", std::exp(sum / total));
    record.put("samples/window_nll", std::move(nll));
    record.put("samples/window_tokens", std::move(tokens));
  } else {
    record.metric("synthetic.value", 1.5);
    record.metric("synthetic.seconds", 0.01 * (1 + 0.1 * noise(entry, 3)));
    record.put("samples/synthetic_items", std::vector<double>{1, 2, 1, 2});
  }
  if (entry.kind != "synthetic") put_certificate(entry.config, quantized, record);
  return record;
}

class RunDir : public ::testing::Test {
 protected:
  void SetUp() override {
    dir = fs::temp_directory_path() / ("qsweep-reduce-" + std::to_string(getpid())) /
          ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(dir);
    write_plan(dir, [](nlohmann::json&) {});
    plan = sweep::read_plan_manifest(dir / "manifests" / "plan.json");
    for (const Entry& entry : plan.runs) record::write_record(dir / entry.path, made_up(entry));
  }
  void TearDown() override { fs::remove_all(dir); }

  static void write_plan(const fs::path& dir, const std::function<void(nlohmann::json&)>& edit) {
    nlohmann::json json =
        sweep::plan_to_json(sweep::make_plan(sweep::parse_study(study_yaml, "made-up.yaml"), {}));
    edit(json);
    write_file_atomic(dir / "manifests" / "plan.json", json.dump());
  }
  const Entry& entry(const std::string& config, const std::string& kind, int64_t repeat) const {
    for (const Entry& run : plan.runs) {
      if (run.config == config && run.kind == kind && run.repeat == repeat) return run;
    }
    throw std::out_of_range("no such run in the plan");
  }
  void rewrite(const Entry& run, const std::function<void(record::RunRecord&)>& edit) const {
    record::RunRecord record = made_up(run);
    edit(record);
    record::write_record(dir / run.path, record);
  }

  fs::path dir;
  sweep::PlanManifest plan;
};

}  // namespace qsweep::reduce::test
