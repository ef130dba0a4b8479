#include "sweep/folder/run_lock.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "sweep/plan/part.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

constexpr auto watch_interval = std::chrono::milliseconds(500);
constexpr auto poll_interval = std::chrono::milliseconds(50);
constexpr const char* lock_name = "lock";

KernelLock patient(int descriptor, double seconds, KernelLock (*try_it)(int)) {
  const Stopwatch watch;
  KernelLock lock = try_it(descriptor);
  while (lock == KernelLock::held_by_other && watch.seconds() < seconds) {
    std::this_thread::sleep_for(poll_interval);
    lock = try_it(descriptor);
  }
  return lock;
}

void write_owner(int descriptor, const fs::path& file, const LockOwner& owner) {
  const std::string text = to_text(owner);
  if (::pwrite(descriptor, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw_io("cannot write", file, errno);
}

int open_lock(const fs::path& file, int flags) {
  return ::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
}

}  // namespace

// A lock file that may belong to a living sweep.
struct RunLock::Suspect {
  fs::path file;
  int descriptor = -1;
  std::optional<LockOwner> owner;
  bool unsure = false;  // its beat must be watched

  Suspect(fs::path path, int open) : file(std::move(path)), descriptor(open) {}
  Suspect(Suspect&& other) noexcept
      : file(std::move(other.file)),
        descriptor(std::exchange(other.descriptor, -1)),
        owner(std::move(other.owner)),
        unsure(other.unsure) {}
  Suspect(const Suspect&) = delete;
  Suspect& operator=(const Suspect&) = delete;
  Suspect& operator=(Suspect&&) = delete;
  ~Suspect() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

RunLock::RunLock(const fs::path& folder, Options options)
    : folder_(folder),
      file_(folder / "manifests" / (lock_name + options.suffix)),
      options_(std::move(options)),
      self_(this_process()) {
  create_folders(file_.parent_path());
  descriptor_ = open_lock(file_, O_CREAT);
  if (descriptor_ < 0) throw_io("cannot open", file_, errno);
  bool ours = false;
  try {
    std::vector<Suspect> unsure;
    Suspect before(file_, ::dup(descriptor_));
    look_at(before, true);
    if (before.unsure) unsure.push_back(std::move(before));
    watch(unsure);
    write();
    ours = true;
    keep_out(rivals());
  } catch (...) {
    if (ours) release();
    ::close(descriptor_);
    throw;
  }
}

RunLock::~RunLock() {
  if (!lost_) release();
  ::close(descriptor_);
}

void RunLock::release() noexcept {
  self_.released = true;
  try {
    write();
  } catch (const Error&) {
    // The owner's process will be gone, which says the same.
  }
}

void RunLock::refuse(const std::string& who, const std::string& why) const {
  throw_invalid("a sweep is at work in " + folder_.string(), who + why,
                "wait for it, choose another --run-tag, or take over with --force if it is gone");
}

// Lock files of sweeps that may not go on beside this one.
std::vector<fs::path> RunLock::rivals() const {
  std::vector<fs::path> found;
  std::error_code code;
  for (fs::directory_iterator it(file_.parent_path(), code), end; !code && it != end;
       it.increment(code)) {
    const std::string name = it->path().filename().string();
    const bool whole = name == lock_name;
    if (!whole && !name.starts_with(std::string(lock_name) + "-")) continue;
    if (it->path().filename() == file_.filename()) continue;
    if (same_deal(name, options_.suffix)) continue;
    found.push_back(it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void RunLock::keep_out(const std::vector<fs::path>& files) {
  std::vector<Suspect> unsure;
  for (const fs::path& file : files) {
    Suspect suspect(file, open_lock(file, 0));
    if (suspect.descriptor < 0) throw_io("cannot open", file, errno);
    look_at(suspect, false);
    if (options_.force && suspect.owner && !suspect.owner->released) {
      LockOwner usurper = self_;
      usurper.released = true;
      write_owner(suspect.descriptor, file, usurper);  // its owner notices at the next beat
    }
    if (suspect.unsure) unsure.push_back(std::move(suspect));
  }
  watch(unsure);
}

// Refuses where the owner lives; else it is gone, or its beat must be watched.
void RunLock::look_at(Suspect& suspect, bool own) const {
  KernelLock kernel = patient(suspect.descriptor, options_.force ? 0 : options_.patience_seconds,
                              own ? take_kernel_lock : see_kernel_lock);
  suspect.owner = read_owner(suspect.descriptor);
  // An earlier life of this job is being ended by Slurm, which takes its time on a silent node.
  if (kernel == KernelLock::held_by_other && suspect.owner && !options_.force &&
      is_earlier_life(*suspect.owner, self_)) {
    options_.tell("waiting for " + suspect.owner->text() + ", an earlier life of this job");
    kernel = patient(suspect.descriptor, options_.watch_seconds,
                     own ? take_kernel_lock : see_kernel_lock);
  }
  if (options_.force) {
    if (suspect.owner && !suspect.owner->released)
      options_.tell("taking over from " + suspect.owner->text() + " by force");
    return;
  }
  if (kernel == KernelLock::held_by_other)
    refuse(suspect.owner ? suspect.owner->text() : "another process", ", which runs");
  if (!suspect.owner) return;
  const Verdict verdict = judge(*suspect.owner, self_);
  if (verdict.life == Life::lives) refuse(suspect.owner->text(), verdict.why);
  suspect.unsure = verdict.life == Life::unsure;
  if (!verdict.why.empty())
    options_.tell("taking over from " + suspect.owner->text() + verdict.why);
}

// All beats at once, so that a hundred dead parts take no longer than one.
void RunLock::watch(const std::vector<Suspect>& suspects) const {
  if (suspects.empty()) return;
  const std::string others =
      suspects.size() == 1 ? "" : " and " + std::to_string(suspects.size() - 1) + " more";
  options_.tell("the run folder was last used by " + suspects.front().owner->text() + others +
                "; watching for " + human_seconds(options_.watch_seconds) + " whether it lives");
  const Stopwatch watch;
  while (watch.seconds() < options_.watch_seconds) {
    std::this_thread::sleep_for(watch_interval);
    for (const Suspect& suspect : suspects) {
      const auto now = read_owner(suspect.descriptor);
      if (!now || now->nonce != suspect.owner->nonce || now->beat != suspect.owner->beat)
        refuse(suspect.owner->text(), ", whose beat goes on");
    }
  }
  options_.tell("taking over from it: no sign of life");
}

void RunLock::write() {
  write_owner(descriptor_, file_, self_);
}

void RunLock::beat() {
  const auto owner = read_owner(descriptor_);
  if (owner && owner->nonce != self_.nonce) {
    lost_ = true;
    throw Error(ErrorKind::interrupted, "another sweep took over the run folder by force",
                owner->text());
  }
  ++self_.beat;
  write();
}

}  // namespace qsweep::sweep
