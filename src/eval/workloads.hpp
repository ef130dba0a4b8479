// The workloads themselves, one file each; run_workload() is the way in.
#pragma once

#include "eval/workload.hpp"

namespace qsweep::eval {

void run_profile(const RunInput& input, record::RunRecord& record);
void run_perplexity(const RunInput& input, record::RunRecord& record);
void run_synthetic(const RunInput& input, record::RunRecord& record);

}  // namespace qsweep::eval
