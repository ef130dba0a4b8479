// The run files of a plan, read one at a time: what is kept of each is a few numbers, so that ten
// thousand runs fit into memory. Items are read again when a comparison asks for them.
#pragma once

#include <filesystem>

#include "reduce/reduce.hpp"

namespace qsweep::reduce {

// What the first accepted record of a config says of it.
struct ConfigFacts {
  bool known = false;
  int64_t w_bits = -1, a_bits = -1, kv_bits = -1, group_size = 0;
  std::string weight_format, scale_format, quant_method;
};

struct Loaded {
  Observations observations;       // its `items` reads below the run folder
  std::vector<RunRow> runs;        // in the plan's order
  std::vector<ConfigFacts> facts;  // [n_configs]
};

Loaded load(const std::filesystem::path& run_dir, const sweep::PlanManifest& plan);

}  // namespace qsweep::reduce
