#include "sweep/folder/lock_owner.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/clock.hpp"

namespace qsweep::sweep {
namespace {

// A fixed size, written in one call: a reader never sees a mixture of two owners.
constexpr size_t lock_bytes = 1024;
constexpr size_t max_field = 200;

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

struct flock whole_file() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return whole;
}

bool same_boot(const LockOwner& a, const LockOwner& b) {
  return a.host == b.host && a.boot == b.boot;
}

}  // namespace

std::string LockOwner::text() const {
  return "process " + std::to_string(pid) + " on " + host +
         (job.empty() ? "" : " (job " + job + ")") + " since " + started;
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

KernelLock take_kernel_lock(int descriptor) {
  struct flock whole = whole_file();
  if (::fcntl(descriptor, F_OFD_SETLK, &whole) == 0) return KernelLock::free;
  if (errno == EAGAIN || errno == EACCES) return KernelLock::held_by_other;
  return KernelLock::unknown;
}

KernelLock see_kernel_lock(int descriptor) {
  struct flock whole = whole_file();
  if (::fcntl(descriptor, F_OFD_GETLK, &whole) != 0) return KernelLock::unknown;
  return whole.l_type == F_UNLCK ? KernelLock::free : KernelLock::held_by_other;
}

bool is_earlier_life(const LockOwner& owner, const LockOwner& self) {
  return !owner.job.empty() && owner.job == self.job && owner.restarts < self.restarts;
}

Verdict judge(const LockOwner& owner, const LockOwner& self) {
  if (owner.released) return {Life::gone, ""};
  if (is_earlier_life(owner, self)) return {Life::gone, ": this job was requeued"};
  if (same_boot(owner, self)) {
    if (process_start(owner.pid) == owner.process_start) return {Life::lives, ", which runs"};
    return {Life::gone, ", which is gone"};
  }
  if (owner.host == self.host) return {Life::gone, ": the host was started anew"};
  return {Life::unsure, ""};
}

}  // namespace qsweep::sweep
