// How a long sweep looks: one bar on a terminal, sparse lines in a log, every failure as it
// happens.
#pragma once

#include "sweep/coordinator.hpp"
#include "sweep/plan.hpp"

namespace qsweep::app {

// Prints to stderr; `plan` must outlive the sink.
sweep::ProgressSink make_progress(const sweep::Plan& plan);
// "1 h 02 min", "3 min 20 s", "12.3 s".
std::string human_seconds(double seconds);

}  // namespace qsweep::app
