// How a sweep looks while it goes on: on a terminal a bar and what each rank does, in a log a line
// now and then.
#pragma once

#include "sweep/plan/plan.hpp"
#include "sweep/share/progress.hpp"

namespace qsweep::app {

// Failures are told as they happen, in both. `plan` must outlive the sink.
sweep::ProgressSink make_progress(const sweep::Plan& plan);

}  // namespace qsweep::app
