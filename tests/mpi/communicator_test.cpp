// What only shows with several ranks.
// ranks: 3
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <set>
#include <thread>

#include "base/error.hpp"
#include "comm/communicator.hpp"
#include "sweep/share/coordinator.hpp"

namespace qsweep {
namespace {

std::unique_ptr<comm::Communicator> world;

TEST(Ranks, GatherAndBroadcast) {
  const auto texts = world->all_gather("rank " + std::to_string(world->rank()));
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_EQ(texts[2], "rank 2");
  EXPECT_EQ(world->broadcast(world->rank() == 1 ? "from 1" : "", 1), "from 1");
  EXPECT_EQ(world->local_size(), 3);
  EXPECT_EQ(world->node_leader(), 0);
}

TEST(Ranks, OneRanksExceptionIsEveryRanks) {
  try {
    comm::coordinated(*world, [] {
      if (world->rank() == 2) throw Error(ErrorKind::io, "disk gone");
    });
    FAIL() << "rank " << world->rank() << " went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::io);
    EXPECT_STREQ(error.what(), "rank 2: disk gone");
  }
}

// One rank's part of a hand-out of `runs` runs: `behave` works on a source and tells which runs it
// did. Every run must have been done once by somebody.
using Behaviour = std::function<std::vector<size_t>(const sweep::WorkSource&)>;

void expect_all_done_once(size_t runs, const Behaviour& behave) {
  sweep::CoordinatorOptions options;
  for (size_t i = 0; i < runs; ++i) options.items.push_back({i, i % 4, i, 0, 1.0});
  options.seed = 1;
  std::unique_ptr<sweep::Coordinator> coordinator;
  sweep::WorkSource source = sweep::remote_source(*world);
  if (world->rank() == 0) {
    coordinator = std::make_unique<sweep::Coordinator>(*world, std::move(options));
    coordinator->start();
    source = [&](const sweep::Request& request) { return coordinator->ask(request); };
  }
  std::string mine;
  for (const size_t run : behave(source)) mine += std::to_string(run) + ",";
  if (coordinator) {
    coordinator->join();
    EXPECT_EQ(coordinator->progress().finished, runs);
  }
  std::multiset<std::string> seen;
  for (const std::string& text : world->all_gather(mine)) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t comma = text.find(',', begin);
      seen.insert(text.substr(begin, comma - begin));
      begin = comma + 1;
    }
  }
  EXPECT_EQ(seen.size(), runs);
  EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), runs);
}

std::vector<size_t> work_to_the_end(const sweep::WorkSource& source) {
  std::vector<size_t> done;
  sweep::Request request;
  while (const auto run = source(request)) {
    done.push_back(*run);
    request = {};
    request.finished = *run;
    request.status = "ok";
  }
  return done;
}

TEST(Ranks, CoordinatorServesAll) {
  expect_all_done_once(50, work_to_the_end);
}

TEST(Ranks, OneJoinsLateAndOneLeavesWithARunInHand) {
  expect_all_done_once(50, [](const sweep::WorkSource& source) -> std::vector<size_t> {
    if (world->rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(400));
    if (world->rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (world->rank() != 2) return work_to_the_end(source);
    sweep::Request request;
    request.finished = source({});
    request.status = "dropped";
    request.leaving = true;
    EXPECT_FALSE(source(request));
    return {};
  });
}

// The last run comes back from a rank that leaves when the others find the queue empty already.
TEST(Ranks, IdleRanksTakeWhatComesBack) {
  expect_all_done_once(1, [](const sweep::WorkSource& source) -> std::vector<size_t> {
    sweep::Request request;
    if (world->rank() == 2) {
      request.finished = source({});
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      request.status = "dropped";
      request.leaving = true;
      EXPECT_FALSE(source(request));
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return work_to_the_end(source);
  });
}

}  // namespace
}  // namespace qsweep

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  qsweep::world = std::make_unique<qsweep::comm::Communicator>();
  if (qsweep::world->size() != 3) {
    std::cout << "SKIPPED: needs mpirun -n 3, found " << qsweep::world->size() << " rank(s)\n";
    return 77;
  }
  const int result = RUN_ALL_TESTS();
  qsweep::world.reset();
  return result;
}
