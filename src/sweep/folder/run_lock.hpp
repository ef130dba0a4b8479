// One sweep at a time in a run folder, or the parts of one (part.hpp) side by side: manifests/lock,
// or manifests/lock-K-of-N, held by rank 0 for as long as the sweep goes on, and left behind by one
// that was killed (lock_owner.hpp: how that is told).
//
// A part keeps out the whole sweep and parts of another deal, and the other way round. Each takes
// its own file first and looks at the others' then, so of two that start at once at least one sees
// the other.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "sweep/folder/lock_owner.hpp"

namespace qsweep::sweep {

class RunLock {
 public:
  struct Options {
    std::string suffix;  // Part::suffix()
    bool force = false;  // take it whoever holds it
    // How long an owner that runs is waited for: a killed one takes a moment to be gone.
    double patience_seconds = 3;
    // How long a beat from another host is watched before its owner is held to be dead.
    double watch_seconds = 30;
    std::function<void(const std::string&)> tell = [](const std::string&) {};
  };
  // Takes the lock of the run folder, or throws Error{invalid_input} that names the owner and what
  // to do; Error{io} where the file cannot be written.
  RunLock(const std::filesystem::path& folder, Options options);
  ~RunLock();  // releases it
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Counts the beat up. Throws Error{interrupted} if somebody else took the lock with force.
  void beat();

 private:
  struct Suspect;
  std::vector<std::filesystem::path> rivals() const;
  void keep_out(const std::vector<std::filesystem::path>& files);
  void look_at(Suspect& suspect, bool own) const;
  void watch(const std::vector<Suspect>& suspects) const;  // all of them unsure
  [[noreturn]] void refuse(const std::string& who, const std::string& why) const;
  void write();
  void release() noexcept;

  std::filesystem::path folder_, file_;
  Options options_;
  int descriptor_ = -1;
  LockOwner self_;
  bool lost_ = false;
};

}  // namespace qsweep::sweep
