// What a person who looks on is told of a sweep and its ranks.
#include "sweep/folder/status.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "sweep/folder/progress_file.hpp"
#include "sweep/folder/rank_beat.hpp"
#include "unit/record/temporary_folder.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

Part part(int64_t index, int64_t count) {
  Part part;
  part.index = index;
  part.count = count;
  return part;
}

class Status : public testing::Test {
 protected:
  Status() { fs::create_directories(ranks()); }
  fs::path ranks() const { return folder_.path() / "manifests/ranks"; }
  std::string text() const { return status_text(folder_.path()); }
  void write(const fs::path& file, const std::string& what) { std::ofstream(file) << what; }
  void beat(const std::string& name, double age, double interval = 10,
            const std::string& host = "node2") {
    write(
        ranks() / name,
        json({{"host", host}, {"pid", 4711}, {"interval", interval}, {"at", epoch_seconds() - age}})
            .dump());
  }
  void progress(const std::string& suffix, int64_t finished, double age) {
    write(folder_.path() / ("manifests/progress" + suffix + ".json"),
          json({{"at", epoch_seconds() - age},
                {"total", 8},
                {"finished", finished},
                {"ranks", 3},
                {"seconds", 60},
                {"left", nullptr},
                {"running", {{0, "results/a\033[31m/p8_o2/r0.h5", 3.5}}}})
              .dump());
  }
  // Until the thread has written.
  void wait_for(const fs::path& file) {
    for (int i = 0; i < 1000 && !fs::exists(file); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(fs::exists(file));
  }
  record::testing::TemporaryFolder folder_;
};

TEST_F(Status, NothingBeforeASweep) {
  EXPECT_EQ(text(), "");
}

TEST_F(Status, ARankIsSeenAsLongAsItLives) {
  {
    const RankBeat whole(folder_.path(), Part{}, 3, 4);
    const RankBeat other(folder_.path(), part(2, 5), 0, 1);
    wait_for(ranks() / "0003");
    wait_for(ranks() / "0000-2-of-5");
    const auto seen = seen_ranks(folder_.path());
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0].part, "");
    EXPECT_EQ(seen[0].rank, 3);
    EXPECT_EQ(seen[0].pid, ::getpid());
    EXPECT_FALSE(seen[0].host.empty());
    EXPECT_FALSE(seen[0].silent());
    EXPECT_EQ(seen[1].part, "-2-of-5");
  }
  EXPECT_TRUE(fs::is_empty(ranks()));
}

TEST_F(Status, ManyRanksBeatLessOftenAndAreWaitedForLonger) {
  EXPECT_EQ(RankBeat::interval_seconds(1), 10);
  EXPECT_EQ(RankBeat::interval_seconds(6400), 100);
  SeenRank rank;
  rank.interval = RankBeat::interval_seconds(6400);
  rank.age = 399;
  EXPECT_FALSE(rank.silent());
  rank.age = 401;
  EXPECT_TRUE(rank.silent());
}

TEST_F(Status, SilentRanksAreNamed) {
  progress("", 5, 2);
  beat("0000", 3);
  beat("0001", 61, 10, "no\nde");
  beat("0002", 59);
  const std::string told = text();
  EXPECT_NE(told.find("5 of 8 runs of this start done in 60.0 s, about ? left; 2 of 3 ranks alive"),
            std::string::npos)
      << told;
  EXPECT_NE(told.find("rank 1 (process 4711 on no"), std::string::npos) << told;
  EXPECT_NE(told.find("no sign of life for 61."), std::string::npos) << told;
  EXPECT_NE(told.find("rank 0: results/a"), std::string::npos) << told;
  EXPECT_EQ(told.find("rank 2"), std::string::npos) << told;
  EXPECT_EQ(told.find("on no\n"), std::string::npos) << "a host's name is tamed";
  EXPECT_EQ(told.find('\033'), std::string::npos);
}

TEST_F(Status, TheEndIsToldFromAKill) {
  progress("", 8, 2);
  EXPECT_EQ(text().find("again"), std::string::npos) << text();
  progress("", 5, 2);
  EXPECT_NE(text().find("0 of 3 ranks alive\n  its ranks have left; start it again"),
            std::string::npos)
      << text();
  beat("0000", 500);
  EXPECT_NE(text().find("it was killed, or its nodes are lost; start it again"), std::string::npos)
      << text();
  EXPECT_EQ(text().find("rank 0: "), std::string::npos) << "a dead rank runs nothing";
}

TEST_F(Status, RanksThatLoadBeforeTheFirstRun) {
  beat("0000", 1);
  beat("0001", 1);
  EXPECT_EQ(text(), "about to begin; 2 of 2 ranks alive\n");
}

TEST_F(Status, PartsInTheirOrder) {
  progress("-10-of-12", 1, 2);
  progress("-2-of-12", 1, 2);
  beat("0000-2-of-12", 1);
  const std::string told = text();
  const size_t second = told.find("part 2-of-12, "), tenth = told.find("part 10-of-12, ");
  EXPECT_LT(second, tenth);
  EXPECT_NE(tenth, std::string::npos);
}

TEST_F(Status, OfManyPartsThoseInTroubleComeFirst) {
  for (int k = 1; k <= 40; ++k) {
    const std::string suffix = "-" + std::to_string(k) + "-of-40";
    progress(suffix, k <= 10 ? 8 : 1, 2);
    if (k > 10) beat("0000" + suffix, k == 33 ? 500 : 1);
  }
  const std::string told = text();
  EXPECT_EQ(told.find("40 parts: 10 done, 29 at work, 1 in trouble\npart 33-of-40, "), 0U) << told;
  EXPECT_NE(told.find("part 11-of-40, "), std::string::npos) << told;
  EXPECT_EQ(told.find("part 1-of-40, "), std::string::npos) << told;
  EXPECT_NE(told.find("  ... and 24 more parts\n"), std::string::npos) << told;
}

TEST_F(Status, OnlyWhatMayBeAtWorkIsLeft) {
  for (const char* suffix : {"", "-1-of-4", "-2-of-4", "-2-of-3"}) {
    progress(suffix, 1, 1);
    beat(std::string("0000") + suffix, 1);
    beat(std::string("0007") + suffix, 1);
  }
  clear_progress(folder_.path(), part(2, 4));
  clear_rank_beats(folder_.path(), part(2, 4));
  ASSERT_EQ(seen_progress(folder_.path()).size(), 1U);
  EXPECT_EQ(seen_progress(folder_.path())[0].part, "-1-of-4");
  EXPECT_EQ(seen_ranks(folder_.path()).size(), 2U);
  clear_progress(folder_.path(), Part{});
  clear_rank_beats(folder_.path(), Part{});
  EXPECT_EQ(text(), "");
}

TEST_F(Status, WhatNoRankWroteIsPassedOver) {
  write(ranks() / "0001", "{\"host\": 3}");
  write(ranks() / "0002", std::string(4096, '['));
  write(ranks() / "x", "{}");
  write(ranks() / "99999999999999999999", "{}");
  fs::create_directory(ranks() / "0003");
  fs::create_symlink("/dev/zero", ranks() / "0004");
  ASSERT_EQ(::mkfifo((ranks() / "0005").c_str(), 0666), 0);
  beat("0006", -1e300, 1e300);
  const auto seen = seen_ranks(folder_.path());
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].rank, 6);
  EXPECT_LE(seen[0].interval, 3600);
}

TEST_F(Status, ADamagedProgressFileIsRefused) {
  write(folder_.path() / "manifests/progress.json", "{\"at\": \"soon\"}");
  EXPECT_THROW(text(), Error);
}

TEST_F(Status, AFolderThatRefusesBeatsIsPassedOver) {
  fs::remove_all(ranks());
  write(ranks(), "in the way");
  { const RankBeat beat(folder_.path(), Part{}, 0, 1); }
  EXPECT_TRUE(fs::is_regular_file(ranks()));
  EXPECT_TRUE(seen_ranks(folder_.path()).empty());
}

// A pipe without a reader would hold whoever opens it to write.
TEST_F(Status, APipeInItsPlaceHoldsNobody) {
  ASSERT_EQ(::mkfifo((ranks() / "0000").c_str(), 0666), 0);
  { const RankBeat beat(folder_.path(), Part{}, 0, 1); }
  EXPECT_FALSE(fs::exists(ranks() / "0000"));
}

}  // namespace
}  // namespace qsweep::sweep
