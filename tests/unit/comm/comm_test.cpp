#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace qsweep::comm {
namespace {

TEST(Communicator, WithoutLauncherIsOneRank) {
  if (launched_by_mpi()) GTEST_SKIP() << "this test wants to run without an MPI launcher";
  const Communicator communicator;
  EXPECT_EQ(communicator.rank(), 0);
  EXPECT_EQ(communicator.size(), 1);
  EXPECT_FALSE(communicator.uses_mpi());
  EXPECT_EQ(communicator.broadcast("text", 0), "text");
  EXPECT_EQ(communicator.all_gather("x"), std::vector<std::string>{"x"});
  Message message;
  EXPECT_FALSE(communicator.poll(1, message));
}

TEST(Communicator, CoordinatedKeepsKindAndMessage) {
  if (launched_by_mpi()) GTEST_SKIP() << "this test wants to run without an MPI launcher";
  const Communicator communicator;
  EXPECT_NO_THROW(coordinated(communicator, [] {}));
  try {
    coordinated(communicator, [] { throw Error(ErrorKind::gpu_guard, "no GPU"); });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::gpu_guard);
    EXPECT_STREQ(error.what(), "no GPU");
  }
}

TEST(Communicator, RankCountMustAgreeWithTheLauncher) {
  if (launched_by_mpi()) GTEST_SKIP() << "this test wants to run without an MPI launcher";
  const Communicator communicator;
  EXPECT_NO_THROW(check_rank_count(communicator, 1));
  EXPECT_THROW(check_rank_count(communicator, 4), Error);
  ::setenv("SLURM_NTASKS", "8", 1);
  EXPECT_THROW(check_rank_count(communicator), Error);
  EXPECT_NO_THROW(check_rank_count(communicator, 1));
  ::unsetenv("SLURM_NTASKS");
}

}  // namespace
}  // namespace qsweep::comm
