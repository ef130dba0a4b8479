#include "sweep/folder/run_lock.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "unit/record/temporary_folder.hpp"

namespace qsweep::sweep {
namespace {

class RunLockTest : public ::testing::Test {
 protected:
  RunLock::Options options(bool force = false) {
    RunLock::Options options;
    options.force = force;
    options.patience_seconds = 0.3;
    options.watch_seconds = 1.2;
    options.tell = [this](const std::string& notice) { told_ += notice + "\n"; };
    return options;
  }
  std::string refusal() {
    try {
      const RunLock lock(folder_.path(), options());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
      return error.what();
    }
    return {};
  }
  std::filesystem::path file() { return folder_.path() / "manifests" / "lock"; }
  nlohmann::json content() { return nlohmann::json::parse(std::ifstream(file())); }
  void write(const nlohmann::json& json) { std::ofstream(file()) << json.dump(); }
  // As a killed sweep leaves it: by a process of this host that is gone, unless changed.
  nlohmann::json dead_owner() {
    { const RunLock lock(folder_.path(), options()); }
    nlohmann::json owner = content();
    owner["released"] = false;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    owner["pid"] = child;
    return owner;
  }

  record::testing::TemporaryFolder folder_;
  std::string told_;
};

TEST_F(RunLockTest, KeepsTheSecondOut) {
  std::optional<RunLock> first(std::in_place, folder_.path(), options());
  const std::string message = refusal();
  EXPECT_NE(message.find("a sweep is at work in " + folder_.path().string()), std::string::npos);
  EXPECT_NE(message.find("process " + std::to_string(::getpid())), std::string::npos) << message;
  EXPECT_NE(message.find("--force"), std::string::npos);
  first.reset();
  EXPECT_EQ(refusal(), "") << "released";
  EXPECT_EQ(told_, "");
}

TEST_F(RunLockTest, TakesOverFromADeadProcessAndSaysSo) {
  write(dead_owner());
  EXPECT_EQ(refusal(), "");
  EXPECT_NE(told_.find("which is gone"), std::string::npos) << told_;
}

TEST_F(RunLockTest, AProcessNumberUsedAgainIsNotTheOwner) {
  nlohmann::json owner = dead_owner();
  owner["pid"] = ::getpid();
  owner["start"] = owner["start"].get<int64_t>() + 1;
  write(owner);
  EXPECT_EQ(refusal(), "");
}

TEST_F(RunLockTest, ADeadProcessThatNobodyReapedIsGone) {
  nlohmann::json owner = dead_owner();
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  std::string stat;
  std::getline(std::ifstream("/proc/" + std::to_string(child) + "/stat"), stat);
  std::istringstream fields(stat.substr(stat.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  owner["pid"] = child;
  owner["start"] = std::stoll(field);
  write(owner);
  EXPECT_NE(refusal(), "") << "it lives";
  ::kill(child, SIGKILL);
  siginfo_t left_unreaped{};
  ::waitid(P_PID, static_cast<id_t>(child), &left_unreaped, WEXITED | WNOWAIT);
  EXPECT_EQ(refusal(), "");
  ::waitpid(child, nullptr, 0);
}

TEST_F(RunLockTest, ALiveOwnerOfThisHostCountsWithoutTheKernelsLock) {
  nlohmann::json owner = dead_owner();
  owner["pid"] = ::getpid();
  write(owner);
  EXPECT_NE(refusal(), "");
}

TEST_F(RunLockTest, AnotherHostIsWatched) {
  nlohmann::json owner = dead_owner();
  owner["host"] = "elsewhere";
  write(owner);
  EXPECT_EQ(refusal(), "") << "no beat";
  EXPECT_NE(told_.find("no sign of life"), std::string::npos) << told_;

  owner["beat"] = 1;
  write(owner);
  std::thread beating([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    owner["beat"] = 2;
    write(owner);
  });
  const std::string message = refusal();
  beating.join();
  EXPECT_NE(message.find("elsewhere"), std::string::npos) << message;
  EXPECT_NE(message.find("whose beat goes on"), std::string::npos) << message;
}

TEST_F(RunLockTest, ARequeuedJobTakesOverFromItself) {
  nlohmann::json owner = dead_owner();
  owner["host"] = "elsewhere";
  owner["job"] = "99";
  write(owner);
  ::setenv("SLURM_JOB_ID", "99", 1);
  ::setenv("SLURM_RESTART_COUNT", "1", 1);
  EXPECT_EQ(refusal(), "");
  ::unsetenv("SLURM_JOB_ID");
  ::unsetenv("SLURM_RESTART_COUNT");
  EXPECT_NE(told_.find("requeued"), std::string::npos) << told_;
}

// Slurm is still ending it on a node that was silent: its kernel lock is there for a while.
TEST_F(RunLockTest, ARequeuedJobWaitsForItsEarlierLife) {
  ::setenv("SLURM_JOB_ID", "99", 1);
  std::optional<RunLock> first(std::in_place, folder_.path(), options());
  ::setenv("SLURM_RESTART_COUNT", "1", 1);
  std::thread ending([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(700));
    first.reset();
  });
  EXPECT_EQ(refusal(), "");
  ending.join();
  ::unsetenv("SLURM_JOB_ID");
  ::unsetenv("SLURM_RESTART_COUNT");
  EXPECT_NE(told_.find("an earlier life of this job"), std::string::npos) << told_;
}

TEST_F(RunLockTest, ForceTakesItAndTheOtherNotices) {
  RunLock first(folder_.path(), options());
  first.beat();
  RunLock second(folder_.path(), options(true));
  EXPECT_NE(told_.find("by force"), std::string::npos);
  EXPECT_THROW(first.beat(), Error);
  second.beat();
}

TEST_F(RunLockTest, NonsenseInTheFileIsNoOwner) {
  std::filesystem::create_directories(file().parent_path());
  for (const std::string text : {"", "{", "[]", "{\"nonce\": 5}", "\xff\xfe"}) {
    std::ofstream(file(), std::ios::trunc) << text;
    EXPECT_EQ(refusal(), "") << text;
  }
}

TEST_F(RunLockTest, NoLinkIsFollowed) {
  std::filesystem::create_directories(file().parent_path());
  std::filesystem::create_symlink("/etc/passwd", file());
  EXPECT_THROW(RunLock(folder_.path(), options()), Error);
}

// Parts of one deal live side by side; the whole sweep and another deal are kept out by each of
// them, and keep them out.
TEST_F(RunLockTest, PartsOfOneDealShareTheFolder) {
  const auto with = [&](const std::string& suffix) {
    RunLock::Options of_part = options();
    of_part.suffix = suffix;
    return of_part;
  };
  std::optional<RunLock> first(std::in_place, folder_.path(), with("-1-of-3"));
  std::optional<RunLock> second(std::in_place, folder_.path(), with("-2-of-3"));
  for (const char* other : {"", "-1-of-3", "-2-of-3", "-1-of-2", "-3-of-30"})
    EXPECT_THROW(RunLock(folder_.path(), with(other)), Error) << other;
  second.reset();
  EXPECT_THROW(RunLock(folder_.path(), with("")), Error) << "the first part lives";
  first.reset();
  {
    const RunLock whole(folder_.path(), with(""));
    EXPECT_THROW(RunLock(folder_.path(), with("-1-of-3")), Error);
  }
  const RunLock other_deal(folder_.path(), with("-1-of-2"));
  EXPECT_EQ(told_, "");
}

TEST_F(RunLockTest, ARefusedStartLeavesNothingThatKeepsOthersOut) {
  RunLock::Options part = options();
  part.suffix = "-1-of-2";
  {
    const RunLock whole(folder_.path(), options());
    EXPECT_THROW(RunLock(folder_.path(), part), Error);
  }
  EXPECT_EQ(refusal(), "");
  EXPECT_EQ(told_, "");
}

TEST_F(RunLockTest, DeadPartsOfOtherHostsAreWatchedAllAtOnce) {
  nlohmann::json owner = dead_owner();
  owner["host"] = "elsewhere";
  for (int part = 1; part <= 5; ++part) {
    std::ofstream(folder_.path() / ("manifests/lock-" + std::to_string(part) + "-of-5"))
        << owner.dump();
  }
  const Stopwatch watch;
  EXPECT_EQ(refusal(), "");
  EXPECT_LT(watch.seconds(), 2 * options().watch_seconds);
  EXPECT_NE(told_.find("and 4 more"), std::string::npos) << told_;
}

TEST_F(RunLockTest, ForceTakesThePartsToo) {
  RunLock::Options part = options();
  part.suffix = "-1-of-2";
  RunLock first(folder_.path(), part);
  const RunLock whole(folder_.path(), options(true));
  EXPECT_THROW(first.beat(), Error);
}

}  // namespace
}  // namespace qsweep::sweep
