#include "sweep/share/share.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/rng.hpp"

namespace qsweep::sweep {
namespace {

// Two waves of all ranks: deep enough that a rank finds its own configs, so shallow that a block
// stays a block and the longest run is begun among the first.
constexpr size_t least_window = 16, waves = 2;
// How often the order follows what was learned; each time costs a sort of what is left.
constexpr size_t arrangements = 16;
// And near the end, each time a quarter of the rest is handed out: what is long must not stay last.
constexpr size_t last_parts = 4;
// A deadline asks for more than the mean. Repeats of one cell differ by a few percent; before the
// cell was seen only a prediction is there, which has been wrong by more.
constexpr double seen_margin = 1.1, unseen_margin = 1.5;

uint64_t shuffled(uint64_t seed, const ShareItem& item) {
  return splitmix64(splitmix64(splitmix64(seed ^ static_cast<uint64_t>(item.repeat)) + item.cell) +
                    item.config);
}

}  // namespace

ShareQueue::ShareQueue(std::vector<ShareItem> items, uint64_t seed, size_t ranks,
                       double load_seconds)
    : seed_(seed),
      ranks_(ranks),
      window_(std::max(least_window, waves * ranks)),
      predicted_load_(load_seconds),
      total_(items.size()) {
  for (const ShareItem& item : items) {
    (item.sentinel ? sentinels_ : items_).push_back(item);
    count_left(item, 1);
  }
  sentinels_total_ = sentinels_.size();
  std::stable_sort(sentinels_.begin(), sentinels_.end(), [](const auto& a, const auto& b) {
    return a.repeat > b.repeat;  // taken from the back
  });
  taken_.assign(items_.size(), 0);
  arrange();
}

double ShareQueue::estimate(const ShareItem& item) const {
  return costs_.estimate(item.config, item.cell, item.cost);
}

double ShareQueue::load_estimate() const {
  return load_count_ == 0 ? predicted_load_ : load_sum_ / static_cast<double>(load_count_);
}

double ShareQueue::estimate_left() const {
  double sum = 0;
  for (const auto& [key, left] : left_of_) {
    if (left.count == 0) continue;
    const auto count = static_cast<double>(left.count);
    sum += count * costs_.estimate(key.first, key.second, left.cost / count);
  }
  return sum;
}

void ShareQueue::count_left(const ShareItem& item, int change) {
  Left& left = left_of_[{item.config, item.cell}];
  left.count += static_cast<size_t>(change);
  left.cost += change * item.cost;
  left_ += static_cast<size_t>(change);
}

// Sorted by repeat, then the cell's cost (its dearest config) descending, then random: the configs
// of one cell stand together in an order that differs from block to block. Cells too long to wait
// stand before all blocks.
void ShareQueue::arrange() {
  std::vector<ShareItem> rest;
  for (size_t i = head_; i < items_.size(); ++i) {
    if (!taken_[i]) rest.push_back(items_[i]);
  }
  std::map<size_t, double> cell_cost;
  std::vector<uint64_t> place(rest.size());
  std::vector<size_t> order(rest.size());
  for (size_t i = 0; i < rest.size(); ++i) {
    double& cost = cell_cost[rest[i].cell];
    cost = std::max(cost, estimate(rest[i]));
    place[i] = shuffled(seed_, rest[i]);
    order[i] = i;
  }
  const double even_share = estimate_left() / static_cast<double>(ranks_);
  std::vector<double> cost(rest.size());
  for (size_t i = 0; i < rest.size(); ++i) cost[i] = cell_cost[rest[i].cell];
  std::sort(order.begin(), order.end(), [&](size_t i, size_t j) {
    const ShareItem &a = rest[i], &b = rest[j];
    const bool urgent = cost[i] > even_share, other_urgent = cost[j] > even_share;
    if (urgent != other_urgent) return urgent;
    if (a.repeat != b.repeat && !urgent) return a.repeat < b.repeat;
    if (cost[i] != cost[j]) return cost[i] > cost[j];
    if (a.repeat != b.repeat) return a.repeat < b.repeat;
    if (a.cell != b.cell) return a.cell < b.cell;
    return place[i] != place[j] ? place[i] < place[j] : a.run < b.run;
  });
  const bool same_head =
      !order.empty() && head_ < items_.size() && items_[head_].run == rest[order.front()].run;
  if (!same_head) passed_over_ = 0;
  items_.clear();
  for (const size_t i : order) items_.push_back(rest[i]);
  taken_.assign(items_.size(), 0);
  untaken_ = Fenwick(items_.size());
  by_config_.clear();
  for (size_t i = items_.size(); i-- > 0;) by_config_[items_[i].config].push_back(i);
  head_ = 0;
  arrange_at_ = handed_ + std::max<size_t>(1, std::min(total_ / arrangements, left_ / last_parts));
}

bool ShareQueue::fits(const ShareItem& item, const std::set<size_t>& resident,
                      double seconds_left) const {
  if (seconds_left == no_deadline) return true;
  const double longest = costs_.longest(item.config, item.cell);
  const double run = longest > 0 ? seen_margin * longest : unseen_margin * estimate(item);
  const bool load = item.loads && !resident.contains(item.config);
  return run + (load ? unseen_margin * load_estimate() : 0) <= seconds_left;
}

// The position nearest to the head of a run whose config is held, if it is near enough.
std::optional<size_t> ShareQueue::preferred(const std::set<size_t>& resident) const {
  if (passed_over_ >= window_) return std::nullopt;
  size_t nearest = items_.size();
  for (const size_t config : resident) {
    const auto found = by_config_.find(config);
    if (found != by_config_.end() && !found->second.empty())
      nearest = std::min(nearest, found->second.back());
  }
  if (nearest == items_.size()) return std::nullopt;
  if (untaken_.before(nearest) - untaken_.before(head_) >= window_) return std::nullopt;
  return nearest;
}

ShareItem ShareQueue::take(size_t position) {
  taken_[position] = 1;
  untaken_.remove(position);
  auto& positions = by_config_[items_[position].config];
  if (!positions.empty() && positions.back() == position) {
    positions.pop_back();
  } else {
    std::erase(positions, position);  // only near a deadline, where the order is left
  }
  passed_over_ += position == head_ ? 0 : 1;
  ++handed_;
  count_left(items_[position], -1);
  while (head_ < items_.size() && taken_[head_]) {
    ++head_;
    passed_over_ = 0;
  }
  return items_[position];
}

std::optional<ShareItem> ShareQueue::next_sentinel(const std::set<size_t>& resident,
                                                   double seconds_left) {
  if (sentinels_.empty()) return std::nullopt;
  // The k-th of s sentinels among n hand-outs comes in the middle of the k-th s-th.
  const bool due = (2 * sentinels_handed_ + 1) * total_ <= 2 * handed_ * sentinels_total_;
  if (!due && head_ < items_.size()) return std::nullopt;
  if (!fits(sentinels_.back(), resident, seconds_left)) return std::nullopt;
  const ShareItem item = sentinels_.back();
  sentinels_.pop_back();
  ++sentinels_handed_;
  ++handed_;
  count_left(item, -1);
  return item;
}

// Near the deadline: the first, so the longest, that still ends in time.
std::optional<ShareItem> ShareQueue::take_first_fitting(const std::set<size_t>& resident,
                                                        double seconds_left) {
  for (size_t i = head_; i < items_.size(); ++i) {
    if (!taken_[i] && fits(items_[i], resident, seconds_left)) return take(i);
  }
  return std::nullopt;
}

std::optional<ShareItem> ShareQueue::next(const std::set<size_t>& resident, double seconds_left) {
  if (handed_ >= arrange_at_ && left_ > 0) arrange();
  if (auto sentinel = next_sentinel(resident, seconds_left)) return sentinel;
  if (head_ == items_.size()) return std::nullopt;
  const size_t wanted = preferred(resident).value_or(head_);
  if (fits(items_[wanted], resident, seconds_left)) return take(wanted);
  return take_first_fitting(resident, seconds_left);
}

void ShareQueue::put_back(const ShareItem& item) {
  count_left(item, 1);
  --handed_;
  if (item.sentinel) {
    sentinels_.push_back(item);
    --sentinels_handed_;
    return;
  }
  items_.push_back(item);
  taken_.push_back(0);
  arrange();
}

void ShareQueue::learn(const ShareItem& item, double seconds, double load_seconds) {
  costs_.learn(item.config, item.cell, item.cost, std::max(0.0, seconds - load_seconds));
  if (load_seconds <= 0) return;
  load_sum_ += load_seconds;
  ++load_count_;
}

}  // namespace qsweep::sweep
