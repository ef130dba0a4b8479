// The main job: every rank takes runs until none is left. Collectives stand before and after the
// loop, none in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "device/context.hpp"
#include "sweep/base_weights.hpp"
#include "sweep/plan/part.hpp"
#include "sweep/plan/plan.hpp"
#include "sweep/share/coordinator.hpp"

namespace qsweep::sweep {

struct SweepOptions {
  std::filesystem::path folder;  // run folder
  std::string study_text;        // the YAML as given
  std::string environment;       // manifests/env_info.json, as JSON text
  device::Context context;
  uint64_t memory_bytes = 0;  // for resident weights of this rank; 0: no bound
  LoadMode load = LoadMode::automatic;
  bool retry_failed = false;
  bool prep_only = false;  // stage and return
  bool force = false;      // take the run folder over from another sweep
  Part part;               // the same on all ranks
  Deadline deadline;       // the same on all ranks
  ProgressSink progress;   // rank 0 only
  std::function<void(const std::string&)> tell = [](const std::string&) {};  // rank 0 only: notices
};

struct SweepOutcome {
  size_t total = 0;                 // runs of the plan, or of the part
  size_t resumed = 0;               // found finished at the start
  size_t finished = 0;              // finished now
  size_t failed = 0, unproven = 0;  // of resumed and finished
  size_t left = 0;                  // not run: interrupted, or they would not have ended in time
  bool interrupted = false;         // runs are left, and another start can do them
  double seconds = 0;
  Progress progress;               // at the end; rank 0 only
  std::vector<RankTally> tallies;  // rank 0 only
};

// Collective. Throws coordinated errors; a run's failure is no error. A rank that cannot work is
// one, but the others finish what there is first.
SweepOutcome run_sweep(const comm::Communicator& communicator, const Plan& plan,
                       const SweepOptions& options);

// Asks all loops of this process to end (from a signal handler: async-signal-safe).
void request_stop() noexcept;
bool stop_requested() noexcept;

}  // namespace qsweep::sweep
