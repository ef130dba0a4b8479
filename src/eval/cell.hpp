// A cell of the grid as the evaluation sees it: which workload, at which lengths, with every
// parameter filled in.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>

#include "base/names.hpp"

namespace qsweep::eval {

enum class WorkloadKind {
  profile,
  perplexity,
  synthetic,
  tasks,
  serving,
  passkey,
  drift,
  sensitivity
};

struct ProfileParams {
  int64_t prompt = 128, output = 64;  // tokens
  int64_t warmup = 1;                 // discarded rounds
};

enum class PerplexityProtocol { sliding, disjoint };
struct PerplexityParams {
  std::string data = "wikitext2";  // dataset name or a text file relative to the study
  PerplexityProtocol protocol = PerplexityProtocol::sliding;
  int64_t window = 2048, stride = 512;  // tokens; disjoint: stride = window
  int64_t max_tokens = 0;               // only the first tokens of the text; 0: all
  bool reference = true;                // KL and top-1 agreement against the baseline config
};

// Sleeps `seconds` * (1 + spread * u), u in [-1, 1) by hash of config, lengths and repeat; returns
// numbers that depend on config, lengths and seed alone.
struct SyntheticParams {
  double seconds = 0.1, spread = 0.5;
  int64_t items = 64;
  int64_t length = 1;  // multiplies the time
  double fail = 0;     // share of runs that fail, by hash; for trying faults
};

// A workload whose engine comes later: it parses and plans, and is refused with a reason.
struct LaterParams {
  std::string json = "{}";  // its parameters, canonical
};

struct Cell {
  WorkloadKind kind = WorkloadKind::profile;
  std::string workload;  // name in the study
  std::string lengths;   // path component: "p128_o64", "w2048_s512", "n1"
  std::variant<ProfileParams, PerplexityParams, SyntheticParams, LaterParams> params;
};

nlohmann::json to_json(const Cell& cell);  // canonical; part of the run id

}  // namespace qsweep::eval

template <>
inline constexpr auto qsweep::enum_names<qsweep::eval::WorkloadKind> =
    std::to_array<qsweep::NamePair<qsweep::eval::WorkloadKind>>(
        {{qsweep::eval::WorkloadKind::profile, "profile"},
         {qsweep::eval::WorkloadKind::perplexity, "perplexity"},
         {qsweep::eval::WorkloadKind::synthetic, "synthetic"},
         {qsweep::eval::WorkloadKind::tasks, "tasks"},
         {qsweep::eval::WorkloadKind::serving, "serving"},
         {qsweep::eval::WorkloadKind::passkey, "passkey"},
         {qsweep::eval::WorkloadKind::drift, "drift"},
         {qsweep::eval::WorkloadKind::sensitivity, "sensitivity"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::eval::PerplexityProtocol> =
    std::to_array<qsweep::NamePair<qsweep::eval::PerplexityProtocol>>(
        {{qsweep::eval::PerplexityProtocol::sliding, "sliding"},
         {qsweep::eval::PerplexityProtocol::disjoint, "disjoint"}});
