#include "sweep/run_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

// A fixed size, written in one call: a reader never sees a mixture of two owners.
constexpr size_t lock_bytes = 1024;
constexpr size_t max_field = 200;
constexpr auto watch_interval = std::chrono::milliseconds(500);
constexpr auto poll_interval = std::chrono::milliseconds(50);

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line.substr(0, max_field);
}

std::string environment_text(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value).substr(0, max_field);
}

// Field 22 of /proc/PID/stat: with the process number it names a process once a boot; -1 where
// there is no such process.
int64_t process_start(int64_t pid) {
  const std::string stat = first_line(("/proc/" + std::to_string(pid) + "/stat").c_str());
  size_t at = stat.rfind(')');  // the name before it may hold anything
  if (at != std::string::npos && stat.find_first_of("ZX", at) == at + 2) return -1;
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
  if (at == std::string::npos) return -1;
  return std::strtoll(stat.c_str() + at, nullptr, 10);
}

LockOwner this_process() {
  LockOwner owner;
  std::random_device random;
  char nonce[40];
  std::snprintf(nonce, sizeof nonce, "%08x%08x%08x%08x", random(), random(), random(), random());
  owner.nonce = nonce;
  owner.host = first_line("/proc/sys/kernel/hostname");
  owner.boot = first_line("/proc/sys/kernel/random/boot_id");
  owner.pid = ::getpid();
  owner.process_start = process_start(owner.pid);
  owner.job = environment_text("SLURM_JOB_ID");
  owner.restarts = std::strtoll(environment_text("SLURM_RESTART_COUNT").c_str(), nullptr, 10);
  owner.started = utc_now_iso();
  return owner;
}

std::string to_text(const LockOwner& owner) {
  nlohmann::json json = {{"nonce", owner.nonce},         {"host", owner.host},
                         {"boot", owner.boot},           {"pid", owner.pid},
                         {"start", owner.process_start}, {"job", owner.job},
                         {"restarts", owner.restarts},   {"started", owner.started},
                         {"beat", owner.beat},           {"released", owner.released}};
  std::string text = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  text.resize(lock_bytes - 1, ' ');
  return text + "\n";
}

// nullopt: empty, or nothing that a sweep wrote.
std::optional<LockOwner> read_owner(int descriptor) {
  std::string text(lock_bytes, '\0');
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  if (size <= 0) return std::nullopt;
  const auto json =
      nlohmann::json::parse(text.substr(0, static_cast<size_t>(size)), nullptr, false);
  LockOwner owner;
  try {
    const auto word = [&](const char* key) {
      return json.at(key).get<std::string>().substr(0, max_field);
    };
    owner.nonce = word("nonce");
    owner.host = word("host");
    owner.boot = word("boot");
    owner.job = word("job");
    owner.started = word("started");
    owner.pid = json.at("pid");
    owner.process_start = json.at("start");
    owner.restarts = json.at("restarts");
    owner.beat = json.at("beat");
    owner.released = json.at("released");
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
  return owner;
}

enum class KernelLock { taken, held_by_other, unknown };

// Of the open file, not of the process, so that closing another descriptor of it drops nothing.
KernelLock try_kernel_lock(int descriptor) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(descriptor, F_OFD_SETLK, &whole) == 0) return KernelLock::taken;
  if (errno == EAGAIN || errno == EACCES) return KernelLock::held_by_other;
  return KernelLock::unknown;  // some parallel file systems have no locks
}

KernelLock patient_kernel_lock(int descriptor, double seconds) {
  const Stopwatch watch;
  KernelLock lock = try_kernel_lock(descriptor);
  while (lock == KernelLock::held_by_other && watch.seconds() < seconds) {
    std::this_thread::sleep_for(poll_interval);
    lock = try_kernel_lock(descriptor);
  }
  return lock;
}

bool same_boot(const LockOwner& a, const LockOwner& b) {
  return a.host == b.host && a.boot == b.boot;
}

// Whether the beat of the file moves or its owner changes while it is watched.
bool beats(int descriptor, const LockOwner& owner, double seconds) {
  const Stopwatch watch;
  while (watch.seconds() < seconds) {
    std::this_thread::sleep_for(watch_interval);
    const auto now = read_owner(descriptor);
    if (!now || now->nonce != owner.nonce || now->beat != owner.beat) return true;
  }
  return false;
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& who, const std::string& why) {
  throw_invalid("a sweep is at work in " + folder.string(), who + ", " + why,
                "wait for it, choose another --run-tag, or take over with --force if it is gone");
}

// What is known of an owner whose kernel lock is not in the way.
void examine(const fs::path& folder, int descriptor, const LockOwner& owner, const LockOwner& self,
             const RunLock::Options& options) {
  const std::string who = owner.text();
  if (owner.released) return;
  if (!owner.job.empty() && owner.job == self.job && owner.restarts < self.restarts) {
    options.tell("taking over from " + who + ": this job was requeued");
    return;
  }
  if (same_boot(owner, self)) {
    if (process_start(owner.pid) == owner.process_start) refuse(folder, who, "which runs");
    options.tell("taking over from " + who + ", which is gone");
    return;
  }
  if (owner.host == self.host) {
    options.tell("taking over from " + who + ": the host was started anew");
    return;
  }
  options.tell("the run folder was last used by " + who + "; watching for " +
               human_seconds(options.watch_seconds) + " whether it lives");
  if (beats(descriptor, owner, options.watch_seconds)) refuse(folder, who, "whose beat goes on");
  options.tell("taking over from it: no sign of life");
}

}  // namespace

std::string LockOwner::text() const {
  return "process " + std::to_string(pid) + " on " + host +
         (job.empty() ? "" : " (job " + job + ")") + " since " + started;
}

RunLock::RunLock(const fs::path& folder, const Options& options)
    : file_(folder / "manifests" / "lock"), self_(this_process()) {
  create_folders(file_.parent_path());
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) throw_io("cannot open", file_, errno);
  try {
    const KernelLock kernel =
        patient_kernel_lock(descriptor_, options.force ? 0 : options.patience_seconds);
    const auto owner = read_owner(descriptor_);
    if (options.force) {
      if (owner && !owner->released)
        options.tell("taking over from " + owner->text() + " by force");
    } else if (kernel == KernelLock::held_by_other) {
      refuse(folder, owner ? owner->text() : "another process", "which runs");
    } else if (owner) {
      examine(folder, descriptor_, *owner, self_, options);
    }
    write();
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

RunLock::~RunLock() {
  self_.released = true;
  try {
    if (!lost_) write();
  } catch (const Error&) {
    // The owner's process will be gone, which says the same.
  }
  ::close(descriptor_);
}

void RunLock::write() {
  const std::string text = to_text(self_);
  if (::pwrite(descriptor_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw_io("cannot write", file_, errno);
  }
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
