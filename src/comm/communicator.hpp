// Ranks. Without MPI, or started without a launcher, there is one rank and the same code runs.
//
// Only the thread that owns the session may call it, except that poll() and send() may move to
// another thread while no other thread calls anything (MPI_THREAD_SERIALIZED).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace qsweep::comm {

struct Message {
  int source = 0;
  std::string text;
};

class Communicator {
 public:
  // Starts MPI if the process was started by a launcher (its environment says so). One per process.
  Communicator();
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // Ranks of this node and this one's place among them.
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  // The rank, among all, of this node's local rank 0.
  int node_leader() const { return node_leader_; }
  bool uses_mpi() const { return mpi_; }

  void barrier() const;
  std::string broadcast(const std::string& text, int root) const;
  // Every rank's text, in rank order, on every rank.
  std::vector<std::string> all_gather(const std::string& text) const;

  // Point to point; never blocks in poll. Self-messages are not supported.
  void send(int to, int tag, const std::string& text) const;
  bool poll(int tag, Message& message) const;  // from any source

  // Ends the whole job at once with this exit code; for faults after which a peer could wait for
  // ever.
  [[noreturn]] void abort(int code) const;

 private:
  bool mpi_ = false, owns_mpi_ = false;
  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1, node_leader_ = 0;
};

// Whether this process was started by an MPI launcher.
bool launched_by_mpi();

// What every rank throws when one has failed. One of them tells it to the person.
class SharedError : public Error {
 public:
  SharedError(ErrorKind kind, const std::string& message, bool speaks)
      : Error(kind, message), speaks_(speaks) {}
  bool speaks() const noexcept { return speaks_; }

 private:
  bool speaks_;
};

// Runs `work` on every rank; an exception of any rank becomes a SharedError of every rank (with the
// kind of the lowest failing rank, naming all that failed), so that nobody waits for a peer that
// has gone. Rank 0's speaks.
void coordinated(const Communicator& communicator, const std::function<void()>& work);

// Throws Error{invalid_input} where the launcher asked for another number of ranks than MPI sees:
// singletons that all believe to be rank 0 waste an allocation. `expected` 0: read
// SLURM_STEP_NUM_TASKS, SLURM_NTASKS.
void check_rank_count(const Communicator& communicator, int expected = 0);

}  // namespace qsweep::comm
