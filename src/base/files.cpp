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

// What a person can do about the faults of a file system that are theirs to mend.
std::string_view advice(int code) {
  switch (code) {
    case ENOSPC:
      return "free space there";
    case EDQUOT:
      return "free space, or ask for a larger quota of bytes or files";
    case EROFS:
    case EACCES:
    case EPERM:
      return "make it writable";
    case ENOENT:
    case ESTALE:
      return "look whether the folder was removed or unmounted";
    default:
      return "";
  }
}

// A folder's entries. Some parallel file systems refuse fsync on folders, and a folder may be
// closed to reading though not to its files; the rename stays atomic there.
void sync_folder(const fs::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 && errno == EACCES) return;
  if (descriptor < 0) throw_io("cannot open for sync", folder, errno);
  const bool failed = ::fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP;
  const int code = errno;
  ::close(descriptor);
  if (failed) throw_io("cannot sync", folder, code);
}

void sync_file(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_io("cannot open for sync", file, errno);
  const bool failed = ::fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP;
  const int code = errno;
  ::close(descriptor);
  if (failed) throw_io("cannot sync", file, code);
}

// A new file, synced. Some file systems tell of a full disk or quota only at fsync or close.
void write_new_file(const fs::path& file, std::string_view text) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) throw_io("cannot create", file, errno);
  const auto fail = [&](int code) {
    ::close(descriptor);
    throw_io("cannot write", file, code);
  };
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(errno);
    text.remove_prefix(static_cast<size_t>(written));
  }
  if (::fsync(descriptor) != 0 && errno != EINVAL && errno != ENOTSUP) fail(errno);
  if (::close(descriptor) != 0) throw_io("cannot write", file, errno);
}

fs::path temporary_name(const fs::path& file) {
  static std::atomic<unsigned> counter{0};
  return file.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++) +
         std::string(temporary_suffix);
}

// `fill` makes and syncs the temporary file.
void replace(const fs::path& file, const std::function<void(const fs::path&)>& fill) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  create_folders(folder);
  const fs::path temporary = temporary_name(file);
  try {
    fill(temporary);
    if (::rename(temporary.c_str(), file.c_str()) != 0) throw_io("cannot rename to", file, errno);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
  sync_folder(folder);
}

}  // namespace

void throw_io(const std::string& what, const fs::path& file, int code) {
  throw Error(ErrorKind::io, what + " " + file.string(), std::strerror(code), advice(code));
}

void create_folders(const fs::path& folder) {
  std::error_code code;
  if (folder.empty() || fs::is_directory(folder, code)) return;
  create_folders(folder.parent_path());
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST)
    throw_io("cannot create folder", folder, errno);
  sync_folder(folder.has_parent_path() ? folder.parent_path() : fs::path("."));
}

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
  replace(file, [&](const fs::path& temporary) {
    write(temporary);
    sync_file(temporary);
  });
}

void write_file_atomic(const fs::path& file, std::string_view text) {
  replace(file, [&](const fs::path& temporary) { write_new_file(temporary, text); });
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
