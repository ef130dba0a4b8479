// Files written whole or not at all; see files.hpp.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>

#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep {
namespace fs = std::filesystem;
namespace {

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

// The temporary file is made here and not by its writer: a link that stood under its name would
// lead the bytes elsewhere.
void create_empty(const fs::path& file) {
  const OpenFile open(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (open.fd < 0) throw_io("cannot create", file, errno);
}

// The number at random keeps apart processes of two nodes or containers that have the same number.
fs::path temporary_name(const fs::path& file) {
  static std::atomic<unsigned> counter{0};
  static const unsigned random = std::random_device()();
  return file.string() + "." + std::to_string(::getpid()) + "-" + std::to_string(random) + "-" +
         std::to_string(counter++) + std::string(temporary_suffix);
}

// `fill` makes and syncs the temporary file.
void replace(const fs::path& file, const std::function<void(const fs::path&)>& fill) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  create_folders(folder);
  const fs::path temporary = temporary_name(file);
  ::unlink(temporary.c_str());  // of a dead process with the same number
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

void create_folders(const fs::path& folder) {
  std::error_code code;
  if (folder.empty() || fs::is_directory(folder, code)) return;
  create_folders(folder.parent_path());
  if (::mkdir(folder.c_str(), 0777) != 0 && errno != EEXIST)
    throw_io("cannot create folder", folder, errno);
  sync_folder(folder.has_parent_path() ? folder.parent_path() : fs::path("."));
}

void replace_file(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw_io("cannot rename to", to, errno);
  sync_folder(to.has_parent_path() ? to.parent_path() : fs::path("."));
}

void write_atomic(const fs::path& file, const std::function<void(const fs::path&)>& write) {
  replace(file, [&](const fs::path& temporary) {
    create_empty(temporary);
    write(temporary);
    sync_file(temporary);
  });
}

void write_file_atomic(const fs::path& file, std::string_view text) {
  replace(file, [&](const fs::path& temporary) { write_new_file(temporary, text); });
}

}  // namespace qsweep
