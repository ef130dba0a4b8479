// Records -> aggregates, claims, noise floor and cost of a sweep. A pure function of
// manifests/plan.json and of the run files that the plan names: the same inputs give the same bytes
// in every CSV and the same tables in sweep.h5, whatever the clock, the host, or the number of
// threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "reduce/claims.hpp"
#include "reduce/drift.hpp"
#include "reduce/noise_floor.hpp"
#include "reduce/trust.hpp"

namespace qsweep::reduce {

// One config, cell, metric and protocol. Numbers are in the metric's units; NaN where there is
// none.
struct AggregateRow {
  std::string config, workload, lengths, kind, metric, units;
  int64_t n = 0;  // accepted repeats
  double mean, sd, ci95_low,
      ci95_high;  // over repeats; no interval where repeats are the same bits
  double min, max, median;
  std::string better;  // lower, higher, neither
  int64_t item_n = 0;
  double item_mean, item_ci95_low, item_ci95_high;  // bootstrap over items
  std::string protocol_fingerprint;
};

struct RunRow {
  std::string id, config, workload, lengths;
  int64_t repeat = 0;
  RunStatus status = RunStatus::missing;
  std::string error, path;  // path relative to the run folder
  int64_t rank = -1;
  std::string start, end;  // UTC, ISO 8601
  double seconds = 0;      // wall time; NaN without a record
  double predicted_s = 0;  // by the planner
};

struct CostRow {
  int64_t rank = 0, runs = 0;
  double busy_s = 0, predicted_s = 0;  // sums over the rank's runs
  double span_s = 0;                   // from its first start to its last end
};

// A number of the paper table with the half width of its 95 % interval and its ratio to the
// baseline's.
struct Figure {
  double value, half_width, ratio;
};
struct PaperRow {
  std::string config, duplicate_of;
  int64_t w_bits = -1, a_bits = -1, kv_bits = -1, group_size = 0;
  std::string weight_format, scale_format, quant_method;
  bool known = false;           // a record of the config was accepted
  std::vector<Figure> figures;  // one per ReduceReport::paper_columns
  std::string quality_cell, protocol_fingerprint, note;
};
struct PaperColumn {
  std::string name, units, long_name;
};

struct ReduceReport {
  std::string study, model, baseline;
  std::vector<AggregateRow> aggregate;
  std::vector<ClaimResult> claims;
  std::vector<NoiseFloorRow> noise_floor;
  std::vector<DriftRow> drift;  // of the sentinels' cell
  std::vector<CostRow> cost;
  std::vector<RunRow> runs;  // in the plan's order
  std::vector<PaperColumn> paper_columns;
  std::vector<PaperRow> paper;  // in the study's order of configs
  std::vector<sweep::Refusal> refusals;
  int64_t ok = 0, failed = 0, unproven = 0, missing = 0;
  int64_t unreadable = 0;  // of the failed: no readable record
  double total_busy_s = 0, total_predicted_s = 0;

  // For the console: table by config, verdicts, failures, unproven and missing runs, cost.
  std::string text() const;
};

// Reads run_dir and writes sweep.h5, aggregate.csv and paper_table.csv there, each whole or not at
// all. Throws Error where the plan cannot be read or the folder not written; a bad run file is
// counted instead.
ReduceReport reduce(const std::filesystem::path& run_dir);

}  // namespace qsweep::reduce
