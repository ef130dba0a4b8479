// What this process may use of the machine: cores of the rank's share, memory.
#pragma once

#include <cstdint>
#include <string>

#include "device/context.hpp"

namespace qsweep::app {

// Cores this process may run on (affinity), divided among the node's ranks where they share them;
// at least 1. OMP_NUM_THREADS, where set, wins.
int threads_of_rank(int local_ranks);
uint64_t physical_memory_bytes();
// Parses --backend and --compute; auto means cpu in a build without CUDA. Throws Error{gpu_guard}
// for cuda where this build or machine has none.
device::Context make_context(const std::string& backend, const std::string& compute, int threads);

}  // namespace qsweep::app
