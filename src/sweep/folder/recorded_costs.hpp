// What the runs of a study took in an earlier sweep, for its next plan.
#pragma once

#include <filesystem>

#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

// From the records in `folder`. Throws Error{invalid_input} where none of the plan's runs lies
// there.
RecordedCosts read_recorded_costs(const std::filesystem::path& folder, const Plan& plan);

}  // namespace qsweep::sweep
