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

// Closes what it opened.
struct OpenFile {
  explicit OpenFile(int descriptor) : fd(descriptor) {}
  ~OpenFile() {
    if (fd >= 0) ::close(fd);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  const int fd;
};

// Some parallel file systems refuse fsync, on folders above all; the rename stays atomic there.
bool synced(int descriptor) {
  return ::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP;
}

// A folder's entries. It may be closed to reading though not to its files.
void sync_folder(const fs::path& folder) {
  const OpenFile open(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (open.fd < 0 && errno == EACCES) return;
  if (open.fd < 0) throw_io("cannot open for sync", folder, errno);
  if (!synced(open.fd)) throw_io("cannot sync", folder, errno);
}

void sync_file(const fs::path& file) {
  const OpenFile open(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (open.fd < 0) throw_io("cannot open for sync", file, errno);
  if (!synced(open.fd)) throw_io("cannot sync", file, errno);
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
  if (!synced(descriptor)) fail(errno);
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

std::optional<std::string> read_file_if_there(const fs::path& file, uint64_t max_bytes) {
  // Non-blocking, or a pipe under that name would wait for its writer; files do not notice it.
  const OpenFile open(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (open.fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (open.fd < 0) throw_io("cannot read", file, errno);
  struct stat status {};
  if (::fstat(open.fd, &status) != 0) throw_io("cannot read", file, errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorKind::io, "cannot read " + file.string(), "not a file");
  }
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size > max_bytes) {
    throw_invalid(file.string() + " is too large", std::to_string(size) + " bytes, at most " +
                                                       std::to_string(max_bytes) + " are read");
  }
  std::string text(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t got = ::read(open.fd, text.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_io("cannot read", file, errno);
    if (got == 0) throw Error(ErrorKind::io, "cannot read " + file.string(), "it became shorter");
    done += static_cast<size_t>(got);
  }
  return text;
}

std::string read_file(const fs::path& file, uint64_t max_bytes) {
  std::optional<std::string> text = read_file_if_there(file, max_bytes);
  if (!text) throw Error(ErrorKind::io, "cannot read " + file.string(), "no such file");
  return std::move(*text);
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
