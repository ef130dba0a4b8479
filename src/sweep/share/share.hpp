// Who runs what next: one policy, used by the coordinator during a sweep and by the simulator
// behind --plan.
//   * Randomised complete blocks: repeat by repeat, so that drift in time falls on all configs
//     alike; inside a block cells by descending cost (the longest first, so that none is left alone
//     at the end), the configs of a cell in random order.
//   * A run that is longer than what is left shared evenly goes before all blocks: begun late, it
//     would go on alone.
//   * A rank prefers configs that it holds: it may take a run up to `window` places from the head
//     of the queue. No run is passed over more than `window` times.
//   * Sentinel runs come at regular distances between the others.
//   * Costs are learned from the runs that end, and the order of what is left follows them.
//   * Before a deadline only runs are given out that will end in time.
// Each hand-out costs O(log runs) for every config that the rank holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/fenwick.hpp"
#include "sweep/share/learned_costs.hpp"

namespace qsweep::sweep {

struct ShareItem {
  size_t run = 0;  // caller's index
  size_t config = 0;
  size_t cell = 0;
  int64_t repeat = 0;
  double cost = 0;  // predicted seconds
  bool sentinel = false;
  bool loads = true;  // needs its config resident, which takes time where it is not
};

class ShareQueue {
 public:
  static constexpr double no_deadline = std::numeric_limits<double>::infinity();

  // `load_seconds`: predicted time of making a config resident.
  ShareQueue(std::vector<ShareItem> items, uint64_t seed, size_t ranks, double load_seconds = 0);

  // The next run for a rank that holds `resident` configs and has `seconds_left` until the
  // deadline; nullopt: the queue is empty, or nothing in it ends in time.
  std::optional<ShareItem> next(const std::set<size_t>& resident,
                                double seconds_left = no_deadline);
  // A run that was handed out and not done: it stands in its block again.
  void put_back(const ShareItem& item);
  // A run ended after `seconds`, of which `load_seconds` made configs resident.
  void learn(const ShareItem& item, double seconds, double load_seconds);

  size_t left() const { return left_; }
  // Seconds of the run, without making its config resident.
  double estimate(const ShareItem& item) const;
  double load_estimate() const;
  // Seconds of everything that is left, without loads.
  double estimate_left() const;

 private:
  void arrange();
  bool fits(const ShareItem& item, const std::set<size_t>& resident, double seconds_left) const;
  std::optional<size_t> preferred(const std::set<size_t>& resident) const;
  std::optional<ShareItem> next_sentinel(const std::set<size_t>& resident, double seconds_left);
  std::optional<ShareItem> take_first_fitting(const std::set<size_t>& resident,
                                              double seconds_left);
  ShareItem take(size_t position);
  void count_left(const ShareItem& item, int change);

  uint64_t seed_;
  size_t ranks_, window_;
  LearnedCosts costs_;
  double predicted_load_, load_sum_ = 0;
  size_t load_count_ = 0;

  // What is left in the order in which it would be handed out; `arrange` makes it anew.
  std::vector<ShareItem> items_;
  std::vector<char> taken_;                          // [items_]
  Fenwick untaken_;                                  // [items_] 1 where not taken
  std::map<size_t, std::vector<size_t>> by_config_;  // positions not yet taken, the next one last
  size_t head_ = 0;                                  // first position not taken
  size_t passed_over_ = 0;                           // how often the head was
  std::vector<ShareItem> sentinels_;                 // the next one last
  struct Left {
    size_t count = 0;
    double cost = 0;
  };
  std::map<std::pair<size_t, size_t>, Left> left_of_;  // config, cell
  size_t left_ = 0, handed_ = 0, sentinels_handed_ = 0, total_ = 0, sentinels_total_ = 0;
  size_t arrange_at_ = 0;  // hand-outs after which what was learned is worth a new order
};

}  // namespace qsweep::sweep
