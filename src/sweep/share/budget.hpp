// What a sweep will take of an allocation, beside the time limit of its jobs.
#pragma once

#include <string>

#include "sweep/share/simulate.hpp"

namespace qsweep::sweep {

// Seconds of a time limit as Slurm writes it: minutes, minutes:seconds, hours:minutes:seconds,
// days-hours, days-hours:minutes, days-hours:minutes:seconds. Throws Error{invalid_input}.
double time_limit_seconds(const std::string& text);

// "0.42 GPU-hours on 8 GPUs; 3 min 10 s of the limit of 4 h: one job", or how many jobs it takes,
// or that its longest run fits into none. `ranks` have a GPU each where `gpus`.
std::string budget_text(const Simulation& simulation, int64_t ranks, bool gpus,
                        double limit_seconds);

}  // namespace qsweep::sweep
