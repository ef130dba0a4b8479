// The study's workloads: a map of names to parameters, one cell for each combination of lengths.
#pragma once

#include <vector>

#include "sweep/grammar/read.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep::grammar {

inline constexpr size_t max_cells = 10000;
inline constexpr int64_t max_repeats = 100000;

std::vector<Workload> read_workloads(const Node& node, Faults& faults);

// The workload's body as lines of YAML, each indented by `indent` spaces, every default written
// out.
std::string workload_yaml(const Workload& workload, int indent);

}  // namespace qsweep::sweep::grammar
