// Executes runs on one rank: keeps models resident, runs the workload, takes the certificate,
// writes the record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "device/context.hpp"
#include "eval/certificate.hpp"
#include "eval/workload.hpp"
#include "model/model.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

struct ExecutorOptions {
  std::filesystem::path folder;  // run folder
  device::Context context;
  uint64_t memory_bytes = 0;  // for resident weights; 0: no bound
  int rank = 0, ranks = 1;
  std::function<void()> check_stop = [] {};  // throws Error{interrupted}
  std::function<void(const std::string&)> log = [](const std::string&) {};
};

class Executor {
 public:
  Executor(const Plan& plan, ExecutorOptions options);
  ~Executor();

  struct Outcome {
    std::string status;  // ok, failed, unproven
    std::string error;
    double seconds = 0;
    double load_seconds = 0;  // of these, making configs resident
  };
  // A run's own failure is recorded and returned. Throws Error{interrupted} (nothing recorded) and
  // Error{io} (the record could not be written).
  Outcome execute(size_t run);
  // Configs whose models are resident.
  std::set<size_t> resident() const;

  // Builds the baseline ahead of the first run, in two steps: between them the caller fills the
  // matrices that it gets, where they are `received` (model::LoadReport::raw). Failures are thrown.
  std::vector<std::span<std::byte>> start_baseline(model::RawWeights raw);
  void finish_baseline();

 private:
  struct Resident {
    std::shared_ptr<model::Model> model;
    eval::Residency residency;
    uint64_t last_use = 0;
  };
  struct Loaded {
    Resident entry;
    model::LoadReport report;
    double seconds = 0;
  };
  void load_checkpoint();
  Loaded load(size_t config, const model::Model* baseline, model::RawWeights raw);
  const model::ActivationRanges& ranges_for(size_t config, const model::Model* baseline);
  Resident& keep(size_t config, Loaded loaded, model::Model* baseline);
  Resident& resident_model(size_t config);
  void make_room(size_t keep);
  bool drop_others(size_t keep);
  const eval::TokenizedText& text_of(const eval::PerplexityParams& params);
  void run_cell(const Run& run, record::RunRecord& record);
  void run_with_room(const Run& run, record::RunRecord& record);
  record::RunRecord start_record(const Run& run) const;
  void write(const Run& run, const record::RunRecord& record) const;

  const Plan& plan_;
  ExecutorOptions options_;
  device::KernelCalls calls_;
  size_t baseline_ = 0;
  std::shared_ptr<const model::Checkpoint> checkpoint_;
  std::unique_ptr<model::Tokenizer> tokenizer_;
  std::map<size_t, Resident> models_;
  std::optional<Loaded> started_;  // the baseline, between the two steps
  std::map<std::string, eval::TokenizedText> texts_;
  std::optional<model::ActivationRanges> ranges_;  // of linears' inputs, once a config needs them
  eval::ReferenceCache references_;
  uint64_t clock_ = 0;
  double load_seconds_ = 0;  // spent so far on making configs resident
};

}  // namespace qsweep::sweep
