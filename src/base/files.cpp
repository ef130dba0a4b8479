#include "base/files.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.hpp"

namespace qsweep {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void throw_io(const std::string& what, const fs::path& file, int code) {
  throw Error(ErrorKind::io, what + " " + file.string(), std::strerror(code));
}

void sync_path(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) throw_io("cannot open for sync", path, errno);
  // Some parallel file systems refuse fsync on folders; the rename stays atomic there.
  const bool failed = ::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP;
  const int code = errno;
  ::close(fd);
  if (failed) throw_io("cannot sync", path, code);
}

fs::path temporary_name(const fs::path& file) {
  static std::atomic<unsigned> counter{0};
  return file.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) +
         std::string(temporary_suffix);
}

}  // namespace

std::string read_file(const fs::path& file, uint64_t max_bytes) {
  std::error_code code;
  if (!fs::is_regular_file(file, code)) {
    throw Error(ErrorKind::io, "cannot read " + file.string(),
                fs::exists(file, code) ? "not a file" : "no such file");
  }
  const uint64_t size = fs::file_size(file, code);
  if (code) throw_io("cannot read", file, code.value());
  if (size > max_bytes) {
    throw_invalid(file.string() + " is too large", std::to_string(size) + " bytes, at most " +
                                                       std::to_string(max_bytes) + " are read");
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(size, '\0');
  if (!in || !in.read(text.data(), static_cast<std::streamsize>(size))) {
    throw Error(ErrorKind::io, "cannot read " + file.string(), "read error");
  }
  return text;
}

void write_atomic(const fs::path& file, const std::function<void(const fs::path&)>& write) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  std::error_code code;
  fs::create_directories(folder, code);
  if (code) throw_io("cannot create folder", folder, code.value());
  const fs::path temporary = temporary_name(file);
  try {
    write(temporary);
    sync_path(temporary, O_RDONLY);
    if (::rename(temporary.c_str(), file.c_str()) != 0) throw_io("cannot rename to", file, errno);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
  sync_path(folder, O_RDONLY | O_DIRECTORY);
}

void write_file_atomic(const fs::path& file, std::string_view text) {
  write_atomic(file, [&](const fs::path& temporary) {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.flush();
    if (!out) throw_io("cannot write", file, errno);
  });
}

MappedFile::MappedFile(const fs::path& file) : path_(file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_io("cannot open", file, errno);
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    throw Error(ErrorKind::io, "cannot map " + file.string(), "not a regular file");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    const int code = errno;
    ::close(fd);
    if (mapping == MAP_FAILED) throw_io("cannot map", file, code);
    data_ = static_cast<const std::byte*>(mapping);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::vector<fs::path> search_folders(const fs::path& file) {
  std::vector<fs::path> folders;
  fs::path folder = fs::absolute(file).parent_path();
  for (int up = 0; up < 4; ++up) {
    folders.push_back(folder);
    if (folder == folder.parent_path()) break;
    folder = folder.parent_path();
  }
  folders.push_back(fs::current_path());
  return folders;
}

bool is_safe_name(std::string_view name) {
  if (name.empty() || name.size() > 120 || name.front() == '.' || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '+' || c == '-';
  });
}

}  // namespace qsweep
