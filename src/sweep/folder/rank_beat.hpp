// manifests/ranks/NNNN, of a part NNNN-K-of-N: that a rank's process lives, for `qsweep status` on
// another machine. Each rank keeps its own, so that nobody waits for anybody: written anew every
// few seconds by a thread that does nothing else, removed when the rank leaves. What a killed rank
// left grows old. Never synced and never needed; a file system that refuses is passed over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "sweep/plan/part.hpp"

namespace qsweep::sweep {

class RankBeat {
 public:
  // Many ranks beat less often, so that together they ask the file server for at most 64 writes a
  // second.
  static double interval_seconds(int ranks);

  RankBeat(const std::filesystem::path& folder, const Part& part, int rank, int ranks);
  ~RankBeat();
  RankBeat(const RankBeat&) = delete;
  RankBeat& operator=(const RankBeat&) = delete;

 private:
  std::filesystem::path file_;
  std::jthread thread_;
};

// What such a file says.
struct SeenRank {
  std::string part;  // Part::suffix()
  int64_t rank = 0, pid = 0;
  std::string host;
  double age = 0;  // seconds, by the clock of who looks on
  // For so long that it was killed, stands still or has lost its node or file system.
  bool silent() const;
  double interval = 0;  // between beats, seconds
};

// By part and rank; names and texts that no rank wrote are passed over.
std::vector<SeenRank> seen_ranks(const std::filesystem::path& folder);

// Before a sweep of `part` begins: removes what sweeps left that cannot be at work any more.
void clear_rank_beats(const std::filesystem::path& folder, const Part& part);

}  // namespace qsweep::sweep
