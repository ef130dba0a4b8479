// Who holds a lock file of a run folder, and what tells whether that process lives. Three
// witnesses, from the surest to the weakest:
//   * a lock of the kernel (open file description lock) on the file. It goes with the process.
//     Where the file system carries locks between nodes it is the whole truth.
//   * host, boot, process number and start time of the owner: decide on the owner's own host.
//   * a beat in the file that the owner counts up: watched for a while from another host, so that
//     clocks need not agree.
// A requeued job of Slurm takes over from its earlier self at once: Slurm has ended that.
#pragma once

#include <cstdint>
#include <optional>
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

LockOwner this_process();
std::string to_text(const LockOwner& owner);  // always of the same length
// nullopt: empty, or nothing that a sweep wrote.
std::optional<LockOwner> read_owner(int descriptor);

enum class KernelLock { free, held_by_other, unknown };  // some parallel file systems have none
// Takes it where it is free. Of the open file, not of the process, so that closing another
// descriptor of it drops nothing.
KernelLock take_kernel_lock(int descriptor);
// Looks and takes nothing.
KernelLock see_kernel_lock(int descriptor);

// Whether `owner` is the same job of Slurm before a requeue.
bool is_earlier_life(const LockOwner& owner, const LockOwner& self);

enum class Life { gone, lives, unsure };  // unsure: of another host, its beat must be watched
struct Verdict {
  Life life;
  std::string why;  // goes on from owner.text(); empty where there is nothing to tell
};
// From everything but the kernel's lock.
Verdict judge(const LockOwner& owner, const LockOwner& self);

}  // namespace qsweep::sweep
