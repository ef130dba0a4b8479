#include "sweep/share.hpp"

#include <algorithm>
#include <numeric>
#include <queue>

#include "base/rng.hpp"

namespace qsweep::sweep {
namespace {

// How deep affinity may look for a resident config.
constexpr size_t affinity_window = 16;

// Sorted by repeat, then the cell's cost (its dearest config) descending, then random: the configs
// of one cell stand together in an order that differs from block to block.
void order_in_blocks(std::vector<ShareItem>& items, uint64_t seed) {
  std::vector<double> cell_cost;
  for (const ShareItem& item : items) {
    if (item.cell >= cell_cost.size()) cell_cost.resize(item.cell + 1, 0.0);
    cell_cost[item.cell] = std::max(cell_cost[item.cell], item.cost);
  }
  const auto shuffled = [seed](const ShareItem& item) {
    return splitmix64(
        splitmix64(splitmix64(seed ^ static_cast<uint64_t>(item.repeat)) + item.cell) +
        item.config);
  };
  std::stable_sort(items.begin(), items.end(), [&](const ShareItem& a, const ShareItem& b) {
    if (a.repeat != b.repeat) return a.repeat < b.repeat;
    if (a.cell != b.cell) {
      if (cell_cost[a.cell] != cell_cost[b.cell]) return cell_cost[a.cell] > cell_cost[b.cell];
      return a.cell < b.cell;
    }
    return shuffled(a) < shuffled(b);
  });
}

}  // namespace

ShareQueue::ShareQueue(std::vector<ShareItem> items, uint64_t seed)
    : items_(std::move(items)), taken_(items_.size(), false), left_(items_.size()) {
  order_in_blocks(items_, seed);
}

bool ShareQueue::next(const std::set<size_t>& resident, ShareItem& item) {
  while (head_ < items_.size() && taken_[head_]) ++head_;
  if (head_ == items_.size()) return false;
  size_t chosen = head_;
  size_t seen = 0;
  for (size_t i = head_; i < items_.size() && seen < affinity_window; ++i) {
    if (taken_[i]) continue;
    if (items_[i].repeat != items_[head_].repeat) break;
    if (resident.contains(items_[i].config)) {
      chosen = i;
      break;
    }
    ++seen;
  }
  taken_[chosen] = true;
  --left_;
  item = items_[chosen];
  return true;
}

double Simulation::efficiency() const {
  const double capacity = makespan * static_cast<double>(rank_busy.size());
  return capacity > 0 ? busy / capacity : 1.0;
}

Simulation simulate(const std::vector<ShareItem>& items, int64_t ranks, uint64_t seed,
                    double load_seconds) {
  Simulation simulation;
  const auto count = static_cast<size_t>(ranks);
  simulation.rank_busy.assign(count, 0.0);
  simulation.runs.resize(count);
  std::vector<std::set<size_t>> resident(count);
  ShareQueue queue(items, seed);
  using Event = std::pair<double, size_t>;  // when the rank is free, rank
  std::priority_queue<Event, std::vector<Event>, std::greater<>> free_at;
  for (size_t r = 0; r < count; ++r) free_at.emplace(0.0, r);
  ShareItem item;
  while (!free_at.empty()) {
    const auto [now, rank] = free_at.top();
    free_at.pop();
    if (!queue.next(resident[rank], item)) continue;
    const double load = resident[rank].insert(item.config).second ? load_seconds : 0.0;
    const double end = now + load + item.cost;
    simulation.rank_busy[rank] += load + item.cost;
    simulation.runs[rank].push_back(item.run);
    simulation.makespan = std::max(simulation.makespan, end);
    free_at.emplace(end, rank);
  }
  simulation.busy = std::accumulate(simulation.rank_busy.begin(), simulation.rank_busy.end(), 0.0);
  return simulation;
}

}  // namespace qsweep::sweep
