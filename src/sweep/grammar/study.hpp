// A study as the YAML file states it, every default filled in. Parsing tells every fault at once
// with file:line:column.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/names.hpp"
#include "eval/cell.hpp"
#include "quant/config.hpp"

namespace qsweep::sweep {

enum class ClaimKind { equivalent, ordered, not_worse, better };

// equivalent [A, B] within m; ordered [A, B, C, ...] increasing|decreasing; not_worse [A, B] (A no
// worse than B beyond the margin, default 0); better [A, B].
struct Claim {
  std::string name;
  ClaimKind kind = ClaimKind::equivalent;
  std::vector<std::string> configs;
  std::string
      metric;  // "profile.tpot_ms"; must be in record::schema, or of a workload that comes later
  double within = 0;  // margin
  bool within_relative =
      true;  // true: fraction of the second config's mean ("1%"); false: in the metric's units
  bool increasing = true;  // ordered only
  std::string lengths;     // only cells with these lengths; empty: all cells of the workload
};

struct Repeats {
  int64_t min = 1, max = 1;
  std::string
      until_metric;  // adaptive: stop when its 95 % interval is narrower than until_ci95 (relative)
  double until_ci95 = 0;
};

struct Workload {
  std::string name;  // key in the study; may differ from the kind: {wiki: {kind: perplexity, ...}}
  eval::WorkloadKind kind;
  std::optional<int64_t> repeats;  // overrides the study's
  std::vector<eval::Cell> cells;   // one per combination of lengths
};

struct Calibration {
  std::string data;
  int64_t samples = 128, length = 2048;
};

struct Study {
  std::string name, model;
  std::filesystem::path file;  // where it was read
  int64_t seed = 0;
  Repeats repeats;
  std::string baseline;     // config name
  bool noise_floor = true;  // add the A/A duplicate of the baseline
  int64_t sentinel = 50;    // every so many runs one more of the duplicate, spread over the sweep,
                            // shows drift; 0: none
  std::optional<Calibration> calibration;
  std::vector<quant::QuantConfig>
      configs;  // sweeps expanded, in file order; the A/A duplicate last
  std::vector<Workload> workloads;
  std::vector<Claim> claims;
};

// key=value overrides ("repeats=5", "workloads.profile.warmup=2") are applied to the YAML tree
// first.
Study read_study(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});
Study parse_study(const std::string& yaml, const std::string& file_name,
                  const std::vector<std::string>& overrides = {});

// resolved.yaml: the study with every default written out; parse_study reads it back to the same
// Study.
std::string to_yaml(const Study& study);

}  // namespace qsweep::sweep

template <>
inline constexpr auto qsweep::enum_names<qsweep::sweep::ClaimKind> =
    std::to_array<qsweep::NamePair<qsweep::sweep::ClaimKind>>(
        {{qsweep::sweep::ClaimKind::equivalent, "equivalent"},
         {qsweep::sweep::ClaimKind::ordered, "ordered"},
         {qsweep::sweep::ClaimKind::not_worse, "not_worse"},
         {qsweep::sweep::ClaimKind::better, "better"}});
