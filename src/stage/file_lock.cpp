#include "stage/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/files.hpp"

namespace qsweep::stage {
namespace {

constexpr auto poll_interval = std::chrono::milliseconds(100);

// Whether the name still stands for the file that was locked; others may remove lock files.
bool same_file(int descriptor, const std::filesystem::path& file) {
  struct stat locked {
  }, named{};
  return ::fstat(descriptor, &locked) == 0 && ::lstat(file.c_str(), &named) == 0 &&
         locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& file, const std::function<void()>& wait) {
  create_folders(file.parent_path());
  try {
    while (!try_lock(file)) {
      wait();
      std::this_thread::sleep_for(poll_interval);
    }
  } catch (...) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw;
  }
}

FileLock::~FileLock() {
  ::close(descriptor_);
}

bool FileLock::try_lock(const std::filesystem::path& file) {
  if (descriptor_ < 0) {
    descriptor_ =
        ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (descriptor_ < 0) throw_io("cannot open", file, errno);
  }
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK || errno == EINTR) return false;
    return true;  // some parallel file systems have no locks
  }
  held_ = same_file(descriptor_, file);
  if (!held_) {
    ::close(descriptor_);
    descriptor_ = -1;
  }
  return held_;
}

}  // namespace qsweep::stage
