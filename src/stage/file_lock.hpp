// A lock of the kernel on a file, the kind that the hub's own tools take (flock): it goes with its
// process, however that ends.
#pragma once

#include <filesystem>
#include <functional>

namespace qsweep::stage {

class FileLock {
 public:
  // Makes the file and its folders and waits for the lock; `wait` is called every 100 ms meanwhile
  // and may throw. Throws Error{io} where the file cannot be made.
  FileLock(const std::filesystem::path& file, const std::function<void()>& wait);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  // False on file systems without locks: then nobody keeps others away.
  bool held() const { return held_; }

 private:
  bool try_lock(const std::filesystem::path& file);
  int descriptor_ = -1;
  bool held_ = false;
};

}  // namespace qsweep::stage
