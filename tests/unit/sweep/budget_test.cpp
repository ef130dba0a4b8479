#include "sweep/share/budget.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

TEST(Budget, ReadsEveryFormOfSlurm) {
  EXPECT_EQ(time_limit_seconds("90"), 5400);
  EXPECT_EQ(time_limit_seconds("1:30"), 90);
  EXPECT_EQ(time_limit_seconds("04:00:00"), 14400);
  EXPECT_EQ(time_limit_seconds("2-0"), 172800);
  EXPECT_EQ(time_limit_seconds("1-12"), 129600);
  EXPECT_EQ(time_limit_seconds("1-12:30"), 131400);
  EXPECT_EQ(time_limit_seconds("1-12:30:15"), 131415);
  for (const char* bad : {"", "0", "0:0", ":", "1:2:3:4", "-1", "1-", "1:-2", "a", "90 ", "$(x)"})
    EXPECT_THROW(time_limit_seconds(bad), Error) << bad;
}

Simulation of(double makespan, double longest) {
  Simulation simulation;
  simulation.makespan = makespan;
  simulation.longest_run = longest;
  return simulation;
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Budget, SaysHoursAndJobs) {
  const std::string one = budget_text(of(1800, 60), 8, true, 14400);
  EXPECT_TRUE(says(one, "4 GPU-hours on 8 GPUs")) << one;
  EXPECT_TRUE(says(one, ": one job")) << one;
  const std::string many = budget_text(of(40000, 60), 2, false, 14400);
  EXPECT_TRUE(says(many, "22.2 rank-hours on 2 ranks")) << many;
  EXPECT_TRUE(says(many, ": about 3 jobs")) << many;
}

TEST(Budget, WarnsOfARunThatFitsIntoNoJob) {
  const std::string text = budget_text(of(40000, 13000), 2, true, 14400);
  EXPECT_TRUE(says(text, "WARN")) << text;
  EXPECT_FALSE(says(budget_text(of(40000, 9000), 2, true, 14400), "WARN"));
}

}  // namespace
}  // namespace qsweep::sweep
