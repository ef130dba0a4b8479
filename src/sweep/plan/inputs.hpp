// What a plan's runs read must be there before the first of them starts.
#pragma once

#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

// Looks for the model's files and every text of the planned runs and tells all that is missing at
// once, with where it was looked for. Throws Error{invalid_input}.
void require_inputs(const Plan& plan);

}  // namespace qsweep::sweep
