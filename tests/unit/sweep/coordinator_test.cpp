#include "sweep/share/coordinator.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "base/error.hpp"
#include "unit/sweep/items.hpp"

namespace qsweep::sweep {
namespace {

CoordinatorOptions options_of(std::vector<ShareItem> items) {
  CoordinatorOptions options;
  options.items = std::move(items);
  options.seed = 1;
  return options;
}

Request ended(size_t run, const std::string& status) {
  Request request;
  request.finished = run;
  request.status = status;
  request.seconds = 2;
  return request;
}

TEST(Request, SurvivesTheMessage) {
  Request request;
  request.finished = 12;
  request.seconds = 0.25;
  request.load_seconds = 0.125;
  request.status = "failed";
  request.error = "out of \"memory\"\n\xff";
  request.resident = {1, 5};
  request.leaving = true;
  request.stop_all = true;
  const Request copy = from_message(to_message(request));
  EXPECT_EQ(copy.finished, request.finished);
  EXPECT_EQ(copy.seconds, request.seconds);
  EXPECT_EQ(copy.load_seconds, request.load_seconds);
  EXPECT_EQ(copy.status, request.status);
  EXPECT_EQ(copy.resident, request.resident);
  EXPECT_TRUE(copy.leaving);
  EXPECT_TRUE(copy.stop_all);
  EXPECT_EQ(from_message(to_message(Request{})).finished, std::nullopt);
  EXPECT_THROW(from_message("{}"), Error);
}

TEST(Coordinator, CountsWhatEnds) {
  const comm::Communicator communicator;
  CoordinatorOptions options = options_of(grid(2, 2, 1));
  std::vector<RunEnd> ends;
  std::vector<Progress> seen;
  options.sink = [&](const Progress& progress, const RunEnd* end) {
    if (end == nullptr) return;
    ends.push_back(*end);
    seen.push_back(progress);
  };
  Coordinator coordinator(communicator, std::move(options));
  auto run = coordinator.ask({});
  Request request = ended(*run, "failed");
  request.error = "why";
  run = coordinator.ask(request);
  request = ended(*run, "ok");
  request.load_seconds = 0.5;
  coordinator.ask(request);
  ASSERT_EQ(ends.size(), 2u);
  EXPECT_EQ(ends[0].status, "failed");
  EXPECT_EQ(ends[0].error, "why");
  EXPECT_EQ(seen[1].finished, 2u);
  EXPECT_EQ(seen[1].failed, 1u);
  EXPECT_DOUBLE_EQ(seen[1].predicted_total, 6.0);
  EXPECT_DOUBLE_EQ(seen[1].predicted_finished, 4.0) << "the two dearest came first";
  EXPECT_DOUBLE_EQ(seen[1].spent, 4.0);
  EXPECT_DOUBLE_EQ(coordinator.tallies()[0].busy_seconds, 4.0);
  EXPECT_DOUBLE_EQ(coordinator.tallies()[0].load_seconds, 0.5);
  EXPECT_EQ(coordinator.tallies()[0].runs, 2u);
  EXPECT_EQ(coordinator.progress().running.size(), 1u);
}

TEST(Coordinator, WhatALeavingRankDropsIsLeft) {
  const comm::Communicator communicator;
  Coordinator coordinator(communicator, options_of(grid(2, 2, 1)));
  const auto run = coordinator.ask({});
  EXPECT_EQ(coordinator.left(), 3u);
  Request request = ended(*run, "dropped");
  request.leaving = true;
  request.error = "no memory";
  EXPECT_FALSE(coordinator.ask(request));
  EXPECT_EQ(coordinator.left(), 4u);
  EXPECT_EQ(coordinator.progress().finished, 0u);
  EXPECT_EQ(coordinator.progress().ranks_left, 1u);
  EXPECT_EQ(coordinator.faults(), std::vector<std::string>{"rank 0: no memory"});
  EXPECT_TRUE(coordinator.ask({})) << "the others go on";
}

TEST(Coordinator, AFaultThatAllShareStopsTheHandOut) {
  const comm::Communicator communicator;
  Coordinator coordinator(communicator, options_of(grid(2, 2, 1)));
  Request request = ended(*coordinator.ask({}), "dropped");
  request.leaving = request.stop_all = true;
  EXPECT_FALSE(coordinator.ask(request));
  EXPECT_FALSE(coordinator.ask({}));
}

TEST(Coordinator, GivesNothingPastTheDeadline) {
  const comm::Communicator communicator;
  CoordinatorOptions options = options_of(grid(1, 1, 1));
  options.deadline = Deadline::at(1e9, "the past");
  Coordinator coordinator(communicator, std::move(options));
  EXPECT_FALSE(coordinator.ask({}));
  EXPECT_EQ(coordinator.left(), 1u);
}

// The thread that answers, ticks and beats, a rank that asks, and one that looks on, all at once:
// run under ThreadSanitizer too.
TEST(Coordinator, ThreadsTogether) {
  const comm::Communicator communicator;
  CoordinatorOptions options = options_of(grid(4, 10, 50));
  size_t told = 0;  // the sink promises never to be called by two threads at once
  options.sink = [&](const Progress& progress, const RunEnd*) { told += progress.total > 0; };
  Coordinator coordinator(communicator, std::move(options));
  coordinator.start();
  std::atomic<bool> done{false};
  std::thread looks_on([&] {
    while (!done) {
      EXPECT_LE(coordinator.progress().finished, 2000u);
      EXPECT_LE(coordinator.left(), 2000u);
      EXPECT_EQ(coordinator.tallies().size(), 1u);
    }
  });
  size_t runs = 0;
  Request request;
  while (const auto run = coordinator.ask(request)) {
    request = ended(*run, "ok");
    ++runs;
  }
  done = true;
  looks_on.join();
  coordinator.join();
  EXPECT_EQ(runs, 2000u);
  EXPECT_EQ(coordinator.progress().finished, 2000u);
  EXPECT_GE(told, 2000u);
}

TEST(Coordinator, ALostRunFolderEndsTheHandOut) {
  const comm::Communicator communicator;
  CoordinatorOptions options = options_of(grid(1, 1, 2));
  options.heartbeat_seconds = 0.01;
  options.heartbeat = [] { throw Error(ErrorKind::interrupted, "taken over"); };
  Coordinator coordinator(communicator, std::move(options));
  coordinator.start();
  // The only run in hand is never told to have ended, so this waits for the heartbeat.
  EXPECT_TRUE(coordinator.ask({}));
  while (coordinator.ask({})) {
  }
  EXPECT_THROW(coordinator.join(), Error);
}

}  // namespace
}  // namespace qsweep::sweep
