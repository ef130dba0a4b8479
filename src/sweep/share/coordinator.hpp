// Hands runs out to ranks, one at a time, when they ask. Rank 0's coordinator is a thread of its
// own that sleeps between messages, so a rank deep in a kernel (rank 0 included) keeps nobody
// waiting and there is no collective in the loop. Ranks may ask for the first time whenever they
// are ready, and leave at any time: what they had in hand goes back to the queue. A rank that finds
// the queue empty waits, asleep, until the last run has ended: it may be needed once more.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "comm/communicator.hpp"
#include "sweep/share/deadline.hpp"
#include "sweep/share/progress.hpp"
#include "sweep/share/request.hpp"
#include "sweep/share/share.hpp"

namespace qsweep::sweep {

struct CoordinatorOptions {
  std::vector<ShareItem> items;
  uint64_t seed = 0;
  double load_seconds = 0;  // predicted time of making a config resident
  Deadline deadline;
  ProgressSink sink;
  double heartbeat_seconds = 10;
  // Called that often from the coordinator's thread; an exception of it (the run
  // folder was taken over, say) ends the hand-out and leaves through join().
  std::function<void()> heartbeat = [] {};
};

// Rank 0's side. Every rank, 0 included, asks through a WorkSource.
class Coordinator {
 public:
  Coordinator(const comm::Communicator& communicator, CoordinatorOptions options);
  ~Coordinator();  // joins the thread
  void start();
  // Rank 0's own request; blocks until there is an answer.
  std::optional<size_t> ask(const Request& request);
  // Hand out nothing more.
  void stop();
  // Returns once every rank has been told that there is no more work, or has left. Rethrows what
  // went wrong in the thread.
  void join();
  Progress progress() const;
  std::vector<RankTally> tallies() const;
  // Why ranks left, those that could not work: "rank 3: ...".
  std::vector<std::string> faults() const;
  // Runs that no rank had in hand when the hand-out ended.
  size_t left() const;

 private:
  enum class Answer { run, wait, none };
  struct Decision {
    Answer answer = Answer::none;
    size_t run = 0;
  };
  struct InHand {
    ShareItem item;
    double since = 0;  // seconds of the loop
  };

  // Notes what the request says; a run that ended is told to the sink.
  void take_in(int rank, const Request& request);
  Decision decide(int rank, const Request& request);
  void note_end(int rank, const Request& request, RunEnd& end);
  void note_change();
  Progress snapshot() const;
  void tell(const RunEnd* end);

  void serve();
  bool serve_message();
  void serve_parked();
  void beat();
  void send_answer(int rank, const Decision& decision);

  const comm::Communicator& communicator_;
  CoordinatorOptions options_;
  Stopwatch watch_;
  mutable std::mutex mutex_;  // of everything below up to the next blank line
  std::condition_variable changed_;
  ShareQueue queue_;
  std::map<int, InHand> in_hand_;  // by rank
  Progress progress_;
  std::vector<RankTally> tallies_;
  std::vector<std::string> faults_;
  bool stopped_ = false, own_done_ = false;
  uint64_t changes_ = 0;  // events after which a waiting rank may get another answer

  std::mutex sink_mutex_;
  // The thread's own, until it is joined.
  std::map<int, Request> parked_;  // requests that wait for an answer
  uint64_t changes_seen_ = 0;
  int others_ = 0;  // ranks that still expect answers
  std::exception_ptr failure_;
  std::thread thread_;
};

// The other ranks' side.
WorkSource remote_source(const comm::Communicator& communicator);

}  // namespace qsweep::sweep
