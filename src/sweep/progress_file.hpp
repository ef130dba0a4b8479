// manifests/progress.json: what a running sweep does, for `qsweep status` on another machine. Kept
// by rank 0, replaced every few seconds, never synced and never needed: what counts are the run
// files.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sweep/plan.hpp"
#include "sweep/progress.hpp"

namespace qsweep::sweep {

class ProgressFile {
 public:
  // `resumed`: runs that were finished before.
  ProgressFile(std::filesystem::path folder, const Plan& plan, size_t resumed);
  // Writes if the last time is long enough ago. A file system that refuses is passed over.
  void update(const Progress& progress);

 private:
  std::filesystem::path file_;
  const Plan& plan_;
  size_t resumed_;
  double next_ = 0;  // seconds of the loop
};

// The last known state of the sweep in this run folder, in words; empty where there is none. Throws
// Error{invalid_input} on a damaged file.
std::string progress_text(const std::filesystem::path& folder);

}  // namespace qsweep::sweep
