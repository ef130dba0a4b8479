#include "sweep/share/share.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "unit/sweep/items.hpp"

namespace qsweep::sweep {
namespace {

TEST(ShareQueue, GivesEveryRunOnceInCompleteBlocks) {
  const auto items = grid(5, 4, 3);
  ShareQueue queue(items, 7, 1);
  std::vector<size_t> seen;
  int64_t repeat = 0;
  while (const auto item = queue.next({})) {
    EXPECT_GE(item->repeat, repeat) << "a block starts only when the one before it is handed out";
    repeat = item->repeat;
    seen.push_back(item->run);
  }
  EXPECT_EQ(queue.left(), 0u);
  EXPECT_DOUBLE_EQ(queue.estimate_left(), 0.0);
  std::sort(seen.begin(), seen.end());
  ASSERT_EQ(seen.size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(seen[i], i);
}

TEST(ShareQueue, DearestCellsFirstConfigsInAnotherOrderEachBlock) {
  ShareQueue queue(grid(6, 3, 4), 7, 1);
  std::map<int64_t, std::vector<size_t>> order;  // block -> configs of its dearest cell
  std::map<int64_t, double> last_cost;
  while (const auto item = queue.next({})) {
    if (last_cost.contains(item->repeat)) {
      EXPECT_LE(item->cost, last_cost[item->repeat]);
    }
    last_cost[item->repeat] = item->cost;
    if (item->cell == 2) order[item->repeat].push_back(item->config);
  }
  int different = 0;
  for (int64_t r = 1; r < 4; ++r) different += order[r] != order[0] ? 1 : 0;
  EXPECT_GT(different, 0);
}

TEST(ShareQueue, PrefersResidentConfigs) {
  ShareQueue queue(grid(4, 2, 1), 1, 1);
  EXPECT_EQ(queue.next({3})->config, 3u);
  EXPECT_EQ(queue.next({3})->config, 3u);
  EXPECT_NE(queue.next({3})->config, 3u) << "none of config 3 is left";
}

TEST(ShareQueue, PassesNoRunOverForEver) {
  // Config 0 has one run, the dearest; config 1 has many, and the only rank holds it.
  std::vector<ShareItem> items = {{0, 0, 0, 0, 5.0}};
  for (size_t i = 1; i < 200; ++i) items.push_back({i, 1, 1, 0, 1.0});
  ShareQueue queue(items, 1, 1);
  size_t handed = 0;
  while (const auto item = queue.next({1})) {
    ++handed;
    if (item->config == 0) break;
  }
  EXPECT_GT(handed, 1u) << "affinity counts for something";
  EXPECT_LE(handed, 17u) << "the window of one rank is 16 runs";
}

TEST(ShareQueue, WhatIsLongerThanAnEvenShareGoesFirst) {
  // Two ranks, ten blocks of a short run, and in the last block one of 30 s: all together 40 s, so
  // that it must start at once for both ranks to end together.
  std::vector<ShareItem> items;
  for (size_t i = 0; i < 10; ++i) items.push_back({i, 0, 0, static_cast<int64_t>(i), 1.0});
  items.push_back({10, 0, 1, 9, 30.0});
  ShareQueue queue(items, 1, 2);
  EXPECT_EQ(queue.next({})->run, 10u);
  EXPECT_EQ(queue.next({})->repeat, 0);
}

TEST(ShareQueue, SentinelsComeAtRegularDistances) {
  std::vector<ShareItem> items = grid(4, 5, 5);  // 100
  for (size_t i = 0; i < 4; ++i)
    items.push_back({100 + i, 9, 9, static_cast<int64_t>(i), 0.5, true});
  ShareQueue queue(items, 1, 1);
  std::vector<size_t> places, repeats;
  for (size_t place = 0; const auto item = queue.next({}); ++place) {
    if (!item->sentinel) continue;
    places.push_back(place);
    repeats.push_back(static_cast<size_t>(item->repeat));
  }
  // The middles of four equal parts of 104 hand-outs.
  EXPECT_EQ(places, (std::vector<size_t>{13, 39, 65, 91}));
  EXPECT_EQ(repeats, (std::vector<size_t>{0, 1, 2, 3}));
}

TEST(ShareQueue, LearnsWhatRunsCostAndReorders) {
  // Predicted alike; the cell that turns out dearest goes first in the blocks that are left.
  std::vector<ShareItem> items;
  for (int64_t r = 0; r < 4; ++r) {
    for (size_t cell = 0; cell < 8; ++cell) items.push_back({items.size(), 0, cell, r, 1.0});
  }
  ShareQueue queue(items, 1, 1);
  for (int i = 0; i < 8; ++i) {
    const auto item = queue.next({});
    EXPECT_EQ(item->repeat, 0);
    queue.learn(*item, item->cell == 5 ? 9.0 : 0.5, 0.0);
  }
  EXPECT_DOUBLE_EQ(queue.estimate_left(), 3 * (9.0 + 7 * 0.5));
  EXPECT_EQ(queue.next({})->cell, 5u);
}

TEST(ShareQueue, NothingIsStartedThatCannotEnd) {
  ShareQueue queue(of_costs({10, 5, 1}), 1, 1);
  // Unseen cells are given half as much again: 5 needs 7.5.
  EXPECT_EQ(queue.next({}, 8.0)->cost, 5);
  EXPECT_EQ(queue.next({}, 8.0)->cost, 1);
  EXPECT_FALSE(queue.next({}, 8.0));
  EXPECT_EQ(queue.left(), 1u);
  EXPECT_EQ(queue.next({}, 15.0)->cost, 10);
}

TEST(ShareQueue, ADeadlineCountsLoadingTheConfig) {
  const std::vector<ShareItem> items = {{0, 0, 0, 0, 2.0}, {1, 1, 0, 0, 2.0}};
  ShareQueue queue(items, 1, 1, 4.0);
  EXPECT_FALSE(queue.next({}, 5.0)) << "1.5 (2 + 4) = 9";
  EXPECT_EQ(queue.next({1}, 5.0)->config, 1u);
  EXPECT_FALSE(queue.next({1}, 5.0));
}

TEST(ShareQueue, WhatWasDroppedIsHandedOutAgain) {
  ShareQueue queue(grid(3, 2, 2), 1, 1);
  const auto dropped = queue.next({});
  for (int i = 0; i < 4; ++i) queue.next({});
  queue.put_back(*dropped);
  EXPECT_EQ(queue.left(), 8u);
  std::map<size_t, int> seen;
  while (const auto item = queue.next({})) ++seen[item->run];
  EXPECT_EQ(seen.size(), 8u);
  EXPECT_EQ(seen[dropped->run], 1);
}

TEST(ShareQueue, HandsOutAHundredThousandRunsToThousandsOfRanks) {
  const auto items = grid(10, 100, 100);
  ShareQueue queue(items, 3, 4096);
  size_t handed = 0, matched = 0;
  while (const auto item = queue.next({handed % 10})) {
    matched += item->config == handed % 10 ? 1 : 0;
    ++handed;
  }
  EXPECT_EQ(handed, items.size());
  EXPECT_GT(matched, handed * 9 / 10) << "the window holds every config";
}

TEST(LearnedCosts, FromTheNearestThatWasSeen) {
  LearnedCosts costs;
  EXPECT_DOUBLE_EQ(costs.estimate(0, 0, 3.0), 3.0);
  costs.learn(0, 0, 2.0, 4.0);
  costs.learn(0, 0, 2.0, 6.0);
  EXPECT_DOUBLE_EQ(costs.estimate(0, 0, 2.0), 5.0);
  EXPECT_DOUBLE_EQ(costs.longest(0, 0), 6.0);
  EXPECT_DOUBLE_EQ(costs.estimate(1, 0, 4.0), 10.0) << "the cell took 2.5 of what was predicted";
  costs.learn(0, 1, 10.0, 10.0);
  EXPECT_DOUBLE_EQ(costs.estimate(1, 2, 7.0), 7.0 * 20 / 14) << "all took 20 for 14 predicted";
  EXPECT_DOUBLE_EQ(costs.longest(1, 2), 0.0);
}

TEST(LearnedCosts, WithoutPredictionsMeansServe) {
  LearnedCosts costs;
  costs.learn(0, 0, 0.0, 3.0);
  costs.learn(0, 1, 0.0, 5.0);
  EXPECT_DOUBLE_EQ(costs.estimate(1, 0, 0.0), 3.0);
  EXPECT_DOUBLE_EQ(costs.estimate(1, 2, 0.0), 4.0);
}

}  // namespace
}  // namespace qsweep::sweep
