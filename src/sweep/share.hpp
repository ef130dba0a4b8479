// Who runs what next: one policy, used by the coordinator during a sweep and by the simulator
// behind --plan. Randomised complete blocks: repeat by repeat, so that drift in time falls on all
// configs alike; inside a block cells by descending cost, configs of a cell in random order; a rank
// prefers configs it has resident.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace qsweep::sweep {

struct ShareItem {
  size_t run = 0;  // caller's index
  size_t config = 0;
  size_t cell = 0;
  int64_t repeat = 0;
  double cost = 0;  // seconds
};

class ShareQueue {
 public:
  ShareQueue(std::vector<ShareItem> items, uint64_t seed);
  // The next run for a rank that holds `resident` configs; false when the queue is empty. Looks
  // only `window` items deep for a resident config, so that affinity never upsets the order by
  // much.
  bool next(const std::set<size_t>& resident, ShareItem& item);
  size_t left() const { return left_; }

 private:
  std::vector<ShareItem> items_;
  std::vector<bool> taken_;
  size_t head_ = 0, left_ = 0;
};

struct Simulation {
  double makespan = 0;  // seconds
  double busy = 0;      // seconds summed over ranks
  std::vector<double> rank_busy;
  std::vector<std::vector<size_t>> runs;  // caller's indices per rank, in order
  double efficiency() const;              // busy / (ranks * makespan)
};
// load_seconds: cost of making a config resident on a rank.
Simulation simulate(const std::vector<ShareItem>& items, int64_t ranks, uint64_t seed,
                    double load_seconds);

}  // namespace qsweep::sweep
