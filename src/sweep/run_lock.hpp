// One sweep at a time in a run folder: manifests/lock, held by rank 0 for as long as the sweep goes
// on, and left behind by one that was killed.
//
// Three witnesses tell whether an owner lives, from the surest to the weakest:
//   * a lock of the kernel (open file description lock) on the file. It goes with the process.
//   Where
//     the file system carries locks between nodes it is the whole truth.
//   * host, boot, process number and start time of the owner: decide on the owner's own host.
//   * a beat in the file that the owner counts up: watched for a while from another host, so that
//     clocks need not agree.
// A requeued job of Slurm takes over from its earlier self at once: Slurm has ended that.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace qsweep::sweep {

// Who holds the lock, as the file says.
struct LockOwner {
  std::string nonce, host, boot, job, started;  // job: Slurm's, or empty; started: UTC
  int64_t pid = 0, process_start = 0;           // start: clock ticks since boot
  int64_t restarts = 0;                         // requeues of the job
  uint64_t beat = 0;
  bool released = false;
  std::string text() const;  // "process 4711 on node12 (job 99) since 2026-01-31T12:00:00Z"
};

class RunLock {
 public:
  struct Options {
    bool force = false;  // take it whoever holds it
    // How long an owner that runs is waited for: a killed one takes a moment to be gone.
    double patience_seconds = 3;
    // How long a beat from another host is watched before its owner is held to be dead.
    double watch_seconds = 30;
    std::function<void(const std::string&)> tell = [](const std::string&) {};
  };
  // Takes the lock of the run folder, or throws Error{invalid_input} that names the owner and what
  // to do; Error{io} where the file cannot be written.
  RunLock(const std::filesystem::path& folder, const Options& options);
  ~RunLock();  // releases it
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Counts the beat up. Throws Error{interrupted} if somebody else took the lock with force.
  void beat();

 private:
  void write();

  std::filesystem::path file_;
  int descriptor_ = -1;
  LockOwner self_;
  bool lost_ = false;
};

}  // namespace qsweep::sweep
