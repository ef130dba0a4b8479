// A rank whose launcher was killed must not work on unseen: its job is over, and the next start of
// the sweep would find the run folder taken.
#pragma once

#include <atomic>
#include <thread>

namespace qsweep::app {

// While it lives, a thread watches the parent process of a rank that an MPI launcher started; once
// that is gone, the process ends at once with exit code 75. Records are written whole or not at
// all, so nothing is lost but the run in hand.
class OrphanGuard {
 public:
  OrphanGuard();
  ~OrphanGuard();
  OrphanGuard(const OrphanGuard&) = delete;
  OrphanGuard& operator=(const OrphanGuard&) = delete;

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

}  // namespace qsweep::app
