// What the fuzz targets share. A target reads its input as the program would read the file and lets
// nothing pass but success or Error{invalid_input}: any other exception, a sanitizer's report, a
// broken promise (`hold`), more than 2 GiB or more than the time limit is a finding.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace qsweep::fuzz {

inline void hold(bool promise, const char* text) {
  if (promise) return;
  std::fprintf(stderr, "broken promise: %s\n", text);
  std::abort();
}

// True if `read` came to its end, false if it refused the input as it should.
template <class Read>
bool accepted(Read read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    hold(error.kind() == ErrorKind::invalid_input, error.what());
    hold(*error.what() != '\0', "a refusal says why");
    return false;
  }
}

// A file that lives in memory, for readers that take a path; one file, rewritten for each input.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) { hold(fd_ >= 0, "memfd_create"); }
  std::filesystem::path write(std::string_view bytes) const {
    hold(::ftruncate(fd_, 0) == 0, "ftruncate");
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n =
          ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
      hold(n > 0, "pwrite");
      done += static_cast<size_t>(n);
    }
    return "/proc/self/fd/" + std::to_string(fd_);
  }

 private:
  int fd_;
};

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace qsweep::fuzz
