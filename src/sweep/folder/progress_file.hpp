// manifests/progress.json, of a part progress-K-of-N.json: what a running sweep does, for `qsweep
// status` on another machine. Kept by rank 0, replaced every few seconds, never synced and never
// needed: what counts are the run files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sweep/plan/part.hpp"
#include "sweep/plan/plan.hpp"
#include "sweep/share/progress.hpp"

namespace qsweep::sweep {

class ProgressFile {
 public:
  // `resumed`: runs that were finished before.
  ProgressFile(const std::filesystem::path& folder, const Plan& plan, const Part& part,
               size_t resumed);
  // Writes if the last time is long enough ago. A file system that refuses is passed over.
  void update(const Progress& progress);

 private:
  std::filesystem::path file_;
  const Plan& plan_;
  size_t resumed_;
  double next_ = 0;  // seconds of the loop
};

// What such a file says. Its words come from outside.
struct SeenProgress {
  struct Running {
    int64_t rank = 0;
    std::string run;
    double seconds = 0;
  };
  std::string part;  // Part::suffix()
  double age = 0;    // seconds, by the clock of who looks on
  int64_t total = 0, finished = 0, ranks = 0;
  double seconds = 0, left = 0;  // left: NaN where nobody knows
  std::vector<Running> running;
};

// By part. Throws Error{invalid_input} on a damaged file.
std::vector<SeenProgress> seen_progress(const std::filesystem::path& folder);

// Before a sweep of `part` begins: removes what sweeps left that cannot be at work any more.
void clear_progress(const std::filesystem::path& folder, const Part& part);

}  // namespace qsweep::sweep
