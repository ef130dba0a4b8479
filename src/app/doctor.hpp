// What `qsweep doctor` looks at, each with a verdict and advice. The checks of ranks are
// collectives.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace qsweep::app {

enum class Level { ok, warn, fail };  // fail: a sweep would not run, or would waste its time

struct Finding {
  Level level = Level::ok;
  std::string what, advice;
};
using Findings = std::vector<Finding>;

// Where a rank runs and what it sees there.
struct RankPlace {
  int rank = 0, local_rank = 0, local_ranks = 1;
  std::string host;
  std::vector<int> cores;  // it may run on
  int gpus = 0;            // that it sees
  std::string gpu;         // the one that a sweep would give it: UUID, or empty
  std::string visible;     // CUDA_VISIBLE_DEVICES
};
// Every rank's place, in rank order, on every rank.
std::vector<RankPlace> gather_places(const comm::Communicator& communicator);

// Pure: what the places mean.
Findings judge_ranks(const std::vector<RankPlace>& places);
std::string places_text(const std::vector<RankPlace>& places);  // a table, cut where it is long
// "0-3,8".
std::string ranges_text(const std::vector<int>& numbers);

// The ranks that the launcher started against those that MPI sees, on rank 0.
Finding check_launch(const comm::Communicator& communicator);
// Writing, renaming, locking and looking across ranks in the folder of results.
Findings check_results_folder(const comm::Communicator& communicator,
                              const std::filesystem::path& out);
Finding check_time_left();

}  // namespace qsweep::app
