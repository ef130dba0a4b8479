// What only shows with several ranks.
// ranks: 3
#include <gtest/gtest.h>

#include <iostream>
#include <memory>
#include <set>

#include "base/error.hpp"
#include "comm/communicator.hpp"
#include "sweep/coordinator.hpp"

namespace qsweep {
namespace {

std::unique_ptr<comm::Communicator> world;

TEST(Ranks, GatherAndBroadcast) {
  const auto texts = world->all_gather("rank " + std::to_string(world->rank()));
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_EQ(texts[2], "rank 2");
  EXPECT_EQ(world->broadcast(world->rank() == 1 ? "from 1" : "", 1), "from 1");
  EXPECT_EQ(world->local_size(), 3);
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

// Every run is handed out once, to whichever rank asks, and each rank is told when there is none
// left.
TEST(Ranks, CoordinatorServesAll) {
  constexpr size_t runs = 50;
  std::vector<sweep::ShareItem> items;
  for (size_t i = 0; i < runs; ++i) items.push_back({i, i % 4, i, 0, 1.0});
  std::unique_ptr<sweep::Coordinator> coordinator;
  sweep::WorkSource source;
  if (world->rank() == 0) {
    coordinator = std::make_unique<sweep::Coordinator>(*world, items, 1, nullptr);
    coordinator->start();
    source = [&](const sweep::Request& request) { return coordinator->answer(0, request); };
  } else {
    source = sweep::remote_source(*world);
  }
  std::string mine;
  sweep::Request request;
  while (const auto run = source(request)) {
    mine += std::to_string(*run) + ",";
    request.finished = *run;
    request.status = "ok";
  }
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
