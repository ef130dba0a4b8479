// Hands runs out to ranks, one at a time, when they ask. Rank 0's coordinator is a thread of its
// own that sleeps between messages, so a rank deep in a kernel (rank 0 included) keeps nobody
// waiting and there is no collective in the loop.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.hpp"
#include "sweep/share.hpp"

namespace qsweep::sweep {

// What a rank says when it asks for work.
struct Request {
  std::optional<size_t> finished;  // run index that it has just ended
  double seconds = 0;              // that run's wall time
  std::string status;  // "ok", "failed", "unproven", or "dropped" (interrupted, not recorded)
  std::string error;   // why it failed
  std::set<size_t> resident;  // configs it holds
  bool leaving = false;       // it takes no more work: interrupted, or its infrastructure failed
};

struct Progress {
  size_t total = 0, finished = 0, failed = 0, unproven = 0;
  size_t ranks = 1;
  double cost_total = 0, cost_finished = 0;  // predicted seconds
  double seconds = 0;                        // since the start of the loop
  // The run just ended, if any.
  std::optional<size_t> run;
  int rank = 0;
  std::string status, error;
  double run_seconds = 0;
};
using ProgressSink = std::function<void(const Progress&)>;

struct RankTally {
  size_t runs = 0;
  double busy_seconds = 0;
};

// Rank 0's side. Every rank, 0 included, asks through a WorkSource.
class Coordinator {
 public:
  Coordinator(const comm::Communicator& communicator, std::vector<ShareItem> items, uint64_t seed,
              ProgressSink sink);
  ~Coordinator();  // joins the thread; returns once every other rank has left
  void start();
  // Answers a request; nullopt: no work for this rank any more.
  std::optional<size_t> answer(int rank, const Request& request);
  // Hand out nothing more.
  void stop();
  void join();
  Progress progress() const;
  std::vector<RankTally> tallies() const;

 private:
  void serve();

  const comm::Communicator& communicator_;
  mutable std::mutex mutex_;
  ShareQueue queue_;
  std::vector<double> cost_by_run_;
  Progress progress_;
  std::vector<RankTally> tallies_;
  ProgressSink sink_;
  bool stopped_ = false;
  int others_left_ = 0;
  std::thread thread_;
};

// Asks for the next run; blocks (sleeping) until answered.
using WorkSource = std::function<std::optional<size_t>(const Request&)>;
WorkSource remote_source(const comm::Communicator& communicator);

// The request as one message, and back.
std::string to_message(const Request& request);
Request from_message(const std::string& text);

}  // namespace qsweep::sweep
