#include "app/doctor.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace qsweep::app {
namespace {

RankPlace place(int rank, const std::string& host, std::vector<int> cores,
                const std::string& gpu = "", int gpus = 0) {
  RankPlace place;
  place.rank = rank;
  place.local_rank = rank % 2;
  place.local_ranks = 2;
  place.host = host;
  place.cores = std::move(cores);
  place.gpu = gpu;
  place.gpus = gpus;
  return place;
}

Level worst(const Findings& findings) {
  Level level = Level::ok;
  for (const Finding& finding : findings) level = std::max(level, finding.level);
  return level;
}

bool says(const Findings& findings, const std::string& part) {
  return std::ranges::any_of(findings, [&](const Finding& finding) {
    return finding.what.find(part) != std::string::npos;
  });
}

TEST(Doctor, RangesAreShort) {
  EXPECT_EQ(ranges_text({}), "");
  EXPECT_EQ(ranges_text({3}), "3");
  EXPECT_EQ(ranges_text({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

TEST(Doctor, OwnCoresAndGpusAreWell) {
  const Findings findings =
      judge_ranks({place(0, "a", {0, 1}, "GPU-1", 2), place(1, "a", {2, 3}, "GPU-2", 2)});
  EXPECT_EQ(worst(findings), Level::ok);
  EXPECT_TRUE(says(findings, "a GPU of its own"));
  EXPECT_TRUE(says(findings, "4 cores for 2 ranks"));
}

TEST(Doctor, AllCoresForAllRanksAreWellToo) {
  EXPECT_EQ(worst(judge_ranks({place(0, "a", {0, 1, 2, 3}), place(1, "a", {0, 1, 2, 3})})),
            Level::ok);
}

TEST(Doctor, RanksOnOneCoreAreToldOf) {
  const Findings findings = judge_ranks({place(0, "a", {0}), place(1, "a", {0})});
  EXPECT_EQ(worst(findings), Level::warn);
  EXPECT_TRUE(says(findings, "2 ranks on 1 core (0)"));
  EXPECT_EQ(worst(judge_ranks({place(0, "a", {0, 1}), place(1, "a", {1, 2})})), Level::warn);
}

TEST(Doctor, AGpuForTwoOrNoneForOneIsAFault) {
  EXPECT_EQ(worst(judge_ranks({place(0, "a", {0}, "GPU-1", 1), place(1, "a", {1}, "GPU-1", 1)})),
            Level::fail);
  EXPECT_EQ(worst(judge_ranks({place(0, "a", {0}, "GPU-1", 1), place(1, "a", {1})})), Level::fail);
}

// A sweep chooses by local rank, and finds fewer GPUs than ranks where each sees its own alone.
TEST(Doctor, GpusHiddenFromEachOtherAreToldOf) {
  const Findings findings =
      judge_ranks({place(0, "a", {0}, "GPU-1", 1), place(1, "a", {1}, "GPU-2", 1)});
  EXPECT_EQ(worst(findings), Level::warn);
  EXPECT_TRUE(says(findings, "sees only its own GPU"));
}

TEST(Doctor, UnequalNodesAndSharedNamesAreToldOf) {
  EXPECT_TRUE(says(judge_ranks({place(0, "a", {0}), place(1, "a", {1}), place(2, "b", {0})}),
                   "unequal numbers"));
  EXPECT_TRUE(says(judge_ranks({place(0, "a", {0}), place(1, "a", {1}), place(2, "a", {2})}),
                   "of that host name"));
}

TEST(Doctor, LongTablesAreCut) {
  std::vector<RankPlace> places;
  for (int rank = 0; rank < 40; ++rank) places.push_back(place(rank, "a", {rank}));
  EXPECT_NE(places_text(places).find("and 8 more ranks"), std::string::npos);
}

}  // namespace
}  // namespace qsweep::app
