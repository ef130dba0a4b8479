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

// What --backend and --compute mean here: auto is the GPU where one is visible, and bf16 there,
// fp32 on the CPU.
struct Engine {
  device::Backend backend = device::Backend::cpu;
  device::Compute compute = device::Compute::fp32;
};
Engine resolve(const std::string& backend, const std::string& compute);

// The ranks of one node and what they may do with its GPUs.
struct NodePlace {
  int local_rank = 0, local_ranks = 1;
  bool allow_sharing = false;
};
// Throws Error{gpu_guard} for cuda where this build or machine has none, Error{invalid_input} where
// the node has more ranks than GPUs.
device::Context make_context(const Engine& engine, int threads, const NodePlace& place = {});

// Bytes that one rank may fill with resident weights: a share of what its node's ranks have in
// common.
uint64_t resident_bytes(const Engine& engine, const NodePlace& place);

}  // namespace qsweep::app
