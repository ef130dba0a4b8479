#include "sweep/share/deadline.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

// The environment of a job, set for one test.
class SlurmEnd {
 public:
  explicit SlurmEnd(const std::string& value) { ::setenv("SLURM_JOB_END_TIME", value.c_str(), 1); }
  ~SlurmEnd() { ::unsetenv("SLURM_JOB_END_TIME"); }
};

TEST(Deadline, NoneByDefault) {
  ::unsetenv("SLURM_JOB_END_TIME");
  const Deadline deadline = Deadline::read("");
  EXPECT_FALSE(deadline.any());
  EXPECT_FALSE(deadline.passed());
}

TEST(Deadline, KeepsSomethingForTheReducer) {
  // A tenth of what is left, at most 30 s. The clock moves on by less than 5 s in between.
  EXPECT_NEAR(Deadline::read("+100s").seconds_left(), 90, 5);
  EXPECT_NEAR(Deadline::read("+1h30m").seconds_left(), 5370, 5);
  EXPECT_NEAR(Deadline::read("+90m").seconds_left(), 5370, 5);
  EXPECT_NEAR(Deadline::read("+1d2s").seconds_left(), 86372, 5);
}

TEST(Deadline, ReadsMoments) {
  EXPECT_DOUBLE_EQ(Deadline::read("2001-09-09T01:46:40Z").epoch(), 1e9);
  EXPECT_DOUBLE_EQ(Deadline::read("1000000000").epoch(), 1e9);
  EXPECT_TRUE(Deadline::read("1000000000").passed());
}

TEST(Deadline, SlurmTellsItsOwn) {
  const SlurmEnd slurm(std::to_string(std::time(nullptr) + 1000));
  EXPECT_NEAR(Deadline::read("").seconds_left(), 970, 5);
  EXPECT_EQ(Deadline::read("").source(), "SLURM_JOB_END_TIME");
  EXPECT_NEAR(Deadline::read("+100s").seconds_left(), 90, 5) << "--until wins";
}

TEST(Deadline, RefusesWhatIsNoMoment) {
  for (const std::string text : {"soon", "+", "+5", "+5x", "+5m5m", "+5s5m", "+-5s", "12", "-1",
                                 "99999999999999999999", "2026-13-01T00:00:00Z", "+5s trailing",
                                 "2026-01-01T00:00:00Z;rm", "0x3B9ACA00", "9999999999"}) {
    EXPECT_THROW(Deadline::read(text), Error) << text;
  }
  const SlurmEnd slurm("$(reboot)");
  EXPECT_THROW(Deadline::read(""), Error);
}

}  // namespace
}  // namespace qsweep::sweep
