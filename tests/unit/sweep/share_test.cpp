#include "sweep/share.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sweep/coordinator.hpp"

namespace qsweep::sweep {
namespace {

std::vector<ShareItem> grid(size_t configs, size_t cells, int64_t repeats) {
  std::vector<ShareItem> items;
  for (int64_t r = 0; r < repeats; ++r) {
    for (size_t cell = 0; cell < cells; ++cell) {
      for (size_t config = 0; config < configs; ++config) {
        items.push_back({items.size(), config, cell, r, 1.0 + static_cast<double>(cell)});
      }
    }
  }
  return items;
}

TEST(ShareQueue, GivesEveryRunOnceInCompleteBlocks) {
  const auto items = grid(5, 4, 3);
  ShareQueue queue(items, 7);
  std::vector<size_t> seen;
  ShareItem item;
  int64_t repeat = 0;
  while (queue.next({}, item)) {
    EXPECT_GE(item.repeat, repeat) << "a block starts only when the one before it is handed out";
    repeat = item.repeat;
    seen.push_back(item.run);
  }
  EXPECT_EQ(queue.left(), 0u);
  std::sort(seen.begin(), seen.end());
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(seen[i], i);
}

TEST(ShareQueue, DearestCellsFirstConfigsInAnotherOrderEachBlock) {
  ShareQueue queue(grid(6, 3, 4), 7);
  std::map<int64_t, std::vector<size_t>> order;  // block -> configs of its dearest cell
  std::map<int64_t, double> last_cost;
  ShareItem item;
  while (queue.next({}, item)) {
    if (last_cost.contains(item.repeat)) {
      EXPECT_LE(item.cost, last_cost[item.repeat]);
    }
    last_cost[item.repeat] = item.cost;
    if (item.cell == 2) order[item.repeat].push_back(item.config);
  }
  int different = 0;
  for (int64_t r = 1; r < 4; ++r) different += order[r] != order[0] ? 1 : 0;
  EXPECT_GT(different, 0);
}

TEST(ShareQueue, PrefersResidentConfigsInsideTheBlock) {
  ShareQueue queue(grid(4, 2, 1), 1);
  ShareItem item;
  ASSERT_TRUE(queue.next({3}, item));
  EXPECT_EQ(item.config, 3u);
  ASSERT_TRUE(queue.next({3}, item));
  EXPECT_EQ(item.config, 3u);
  ASSERT_TRUE(queue.next({3}, item));  // none of config 3 is left
  EXPECT_NE(item.config, 3u);
}

TEST(Simulate, TwoRanksShareByHand) {
  // Costs 3, 2, 2, 1 (one cell each): largest first gives rank 0: 3 then 1, rank 1: 2 then 2.
  const std::vector<ShareItem> items = {
      {0, 0, 0, 0, 1}, {1, 0, 1, 0, 2}, {2, 0, 2, 0, 3}, {3, 0, 3, 0, 2}};
  const Simulation simulation = simulate(items, 2, 1, 0.0);
  EXPECT_DOUBLE_EQ(simulation.makespan, 4.0);
  EXPECT_DOUBLE_EQ(simulation.busy, 8.0);
  EXPECT_DOUBLE_EQ(simulation.efficiency(), 1.0);
}

TEST(Simulate, LoadingAConfigCosts) {
  const std::vector<ShareItem> items = {{0, 0, 0, 0, 1}, {1, 1, 0, 0, 1}};
  EXPECT_DOUBLE_EQ(simulate(items, 1, 1, 0.5).makespan, 3.0);
}

TEST(Coordinator, RequestSurvivesTheMessage) {
  Request request;
  request.finished = 17;
  request.seconds = 0.25;
  request.status = "failed";
  request.error = "bad \"quote\" \xff";
  request.resident = {1, 5};
  request.leaving = true;
  const Request copy = from_message(to_message(request));
  EXPECT_EQ(copy.finished, request.finished);
  EXPECT_EQ(copy.resident, request.resident);
  EXPECT_EQ(copy.status, "failed");
  EXPECT_TRUE(copy.leaving);
  EXPECT_EQ(from_message(to_message(Request{})).finished, std::nullopt);
}

TEST(Coordinator, CountsAndStopsWhenARankLeaves) {
  const comm::Communicator communicator;
  std::vector<Progress> seen;
  Coordinator coordinator(communicator, grid(2, 2, 1), 1,
                          [&](const Progress& p) { seen.push_back(p); });
  coordinator.start();
  Request request;
  auto run = coordinator.answer(0, request);
  ASSERT_TRUE(run);
  request.finished = run;
  request.status = "failed";
  request.error = "why";
  run = coordinator.answer(0, request);
  ASSERT_TRUE(run);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].failed, 1u);
  EXPECT_EQ(seen[0].error, "why");
  request.finished = run;
  request.status = "dropped";
  request.leaving = true;
  EXPECT_FALSE(coordinator.answer(0, request));
  EXPECT_FALSE(coordinator.answer(0, Request{}));
  EXPECT_EQ(coordinator.progress().finished, 1u) << "a dropped run is not finished";
}

}  // namespace
}  // namespace qsweep::sweep
