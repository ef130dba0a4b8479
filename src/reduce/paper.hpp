// The paper table: one line per config. Times are geometric means over the cells that the plan has
// for every config; quality is that of the study's first perplexity cell, as figures of different
// protocols are never put in one column.
#pragma once

#include <vector>

#include "reduce/load.hpp"

namespace qsweep::reduce {

// Fills report.paper_columns and report.paper from the observations and report.aggregate.
void fill_paper(const sweep::PlanManifest& plan, const Observations& observations,
                const std::vector<ConfigFacts>& facts, ReduceReport& report);

}  // namespace qsweep::reduce
