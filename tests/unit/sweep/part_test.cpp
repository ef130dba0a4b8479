#include "sweep/plan/part.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

Plan trial(const std::string& lengths, int64_t repeats) {
  return make_plan(parse_study("study: s\nmodel: none\nrepeats: " + std::to_string(repeats) +
                                   "\nconfigs: {A: {}, B: {}, C: {}}\n"
                                   "workloads: {synthetic: {seconds: 1, lengths: " +
                                   lengths + "}}\n",
                               "study.yaml"),
                   {});
}

std::set<size_t> runs_of(const Plan& plan, int64_t index, int64_t count) {
  Part part;
  part.index = index;
  part.count = count;
  return runs_of_part(plan, part);
}

TEST(Part, IsReadAndNamed) {
  EXPECT_TRUE(parse_part("").whole());
  EXPECT_TRUE(parse_part("1/1").whole());
  EXPECT_EQ(parse_part("1/1").suffix(), "");
  const Part part = parse_part("3/16");
  EXPECT_EQ(part.text(), "3/16");
  EXPECT_EQ(part.suffix(), "-3-of-16");
  for (const char* bad : {"3", "/", "0/4", "5/4", "-1/4", "1/0", "a/4", "1/4/2", "1/ 4", "1/100001",
                          "1/99999999999999999999"}) {
    EXPECT_THROW(parse_part(bad), Error) << bad;
  }
}

TEST(Part, EveryRunIsInOnePart) {
  const Plan plan = trial("[1, 2, 5, 9]", 5);
  for (const int64_t count : {1, 2, 3, 7, 16, 200}) {
    std::map<size_t, int> seen;
    for (int64_t index = 1; index <= count; ++index) {
      for (const size_t run : runs_of(plan, index, count)) ++seen[run];
    }
    EXPECT_EQ(seen.size(), plan.runs.size()) << count << " parts";
    for (const auto& [run, times] : seen) EXPECT_EQ(times, 1) << "run " << run;
  }
}

// The dearest first to who has least: no part has more than the least one by more than a run.
TEST(Part, AllHaveAboutTheSameToDo) {
  const Plan plan = trial("[1, 2, 5, 9, 40]", 4);
  for (const int64_t count : {2, 3, 5, 8}) {
    double least = 1e9, most = 0;
    for (int64_t index = 1; index <= count; ++index) {
      double sum = 0;
      for (const size_t run : runs_of(plan, index, count)) sum += plan.runs[run].cost;
      least = std::min(least, sum);
      most = std::max(most, sum);
    }
    EXPECT_LE(most - least, 40.0) << count << " parts";
  }
}

// A part whose runs were all of one config would give the config its node's speed.
TEST(Part, ConfigsFallOnAllParts) {
  const Plan plan = trial("[1]", 40);
  for (int64_t index = 1; index <= 4; ++index) {
    std::map<size_t, int> configs;
    for (const size_t run : runs_of(plan, index, 4)) ++configs[plan.runs[run].config];
    EXPECT_EQ(configs.size(), plan.study.configs.size()) << "part " << index;
  }
}

TEST(Part, WithoutKnownCostsNumbersCount) {
  Plan plan = trial("[1, 2]", 3);
  for (auto& run : plan.runs) run.cost = 0;
  size_t most = 0, least = plan.runs.size();
  for (int64_t index = 1; index <= 4; ++index) {
    most = std::max(most, runs_of(plan, index, 4).size());
    least = std::min(least, runs_of(plan, index, 4).size());
  }
  EXPECT_LE(most - least, 1u);
}

}  // namespace
}  // namespace qsweep::sweep
