// Study -> plan: which runs there are, which combinations are refused and why, what each costs, who
// would run what. A pure function of the study and of what is known about the model; touches
// nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "model/config.hpp"
#include "sweep/grammar/study.hpp"
#include "sweep/share/share.hpp"

namespace qsweep::sweep {

struct Run {
  std::string id;     // first 16 hex digits of the hash of the resolved content
  size_t config = 0;  // index into Study::configs
  size_t cell = 0;    // index into Plan::cells
  int64_t repeat = 0;
  double cost = 0;  // predicted seconds
  // results/<config>/<workload>/<lengths>/r<repeat>.h5, relative to the run folder
  std::string path;
  bool sentinel = false;  // one more of the A/A duplicate, at a regular place among the others
};

struct Refusal {
  std::string config, workload, lengths, reason;
};

// What the prediction rests on.
struct Rates {
  double flops_per_s = 4e10;      // of the engine on one rank
  double bytes_per_s = 8e9;       // weights read by one rank
  double overhead_s = 0.05;       // fixed cost of a run
  double load_bytes_per_s = 1e9;  // a checkpoint's weights, read and quantized
};

struct PlanOptions {
  std::vector<std::string>
      only;             // globs on run id, config, workload, "config/workload"; empty: all
  int64_t repeats = 0;  // overrides the study's when > 0
  Rates rates;
  std::string compute = "fp32";  // type of activations: decides results, so it is part of run ids
  std::string backend = "cpu";   // the same
};

struct Plan {
  Study study;
  std::string model_fingerprint;  // empty if the model's files are not there
  model::ModelConfig shape;       // from the model's files, or a published shape
  bool shape_known = false;
  std::vector<eval::Cell> cells;
  std::vector<Run> runs;           // grid order: repeat, cell, config
  std::vector<Refusal> refusals;   // an empty config, workload or lengths stands for all
  Rates rates;                     // what the costs rest on
  uint64_t weight_bytes_max = 0;   // largest config's weights
  uint64_t peak_bytes = 0;         // estimated memory of a rank with one config resident
  double calibration_seconds = 0;  // predicted, once on each rank that runs a config that needs it
};

Plan make_plan(const Study& study, const PlanOptions& options);

// Every text that the planned runs read, calibration's among them, once each, as its tokens are
// asked for.
std::vector<eval::PerplexityParams> texts_of(const Plan& plan);

// Hash over the canonical claims, stored before the first run: later claims are exploratory.
std::string claims_hash(const std::vector<Claim>& claims);

// manifests/plan.json: runs, refusals, claims, claims_hash, cells. Reading validates.
nlohmann::json plan_to_json(const Plan& plan);

// What the reducer needs of a plan, read back from manifests/plan.json.
struct PlanManifest {
  std::string study, model, baseline;
  std::vector<std::string> configs;       // names, in study order
  std::vector<std::string> duplicate_of;  // per config; empty string if none
  std::vector<Claim> claims;
  std::string claims_hash;
  struct Entry {
    std::string id, config, workload, lengths, path;
    std::string kind;  // workload kind
    int64_t repeat = 0;
    double cost = 0;
    bool sentinel = false;
  };
  std::vector<Entry> runs;
  std::vector<Refusal> refusals;
};
PlanManifest read_plan_manifest(const std::filesystem::path& plan_json);

// What the plan's runs were measured to take, from the records of an earlier sweep of the same
// study: seconds by run id, loads apart.
struct RecordedCosts {
  std::string folder;  // where they were read; empty: none
  std::map<std::string, double> seconds;
  double load_seconds = 0;  // mean of the runs that made configs resident
};

// The plan's runs as the hand-out policy sees them, but for those in `finished`.
std::vector<ShareItem> share_items(const Plan& plan, const std::set<size_t>& finished = {});
// Predicted time of making a config resident on a rank.
double predicted_load_seconds(const Plan& plan);

// The text of --plan: cells, costs, memory, refused combinations, and for `ranks` the shares, the
// predicted time, and what limits it (from the simulator in simulate.hpp).
std::string plan_text(const Plan& plan, int64_t ranks, const RecordedCosts& recorded = {});

}  // namespace qsweep::sweep
