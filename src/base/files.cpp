#include "base/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

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

// O_NONBLOCK: opening a pipe without a writer would wait for one.
int open_for_reading(const fs::path& file) {
  return ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

std::string read_whole(RegularFile& in, uint64_t max_bytes) {
  if (in.size() > max_bytes) {
    throw_invalid(
        in.path().string() + " is too large",
        std::to_string(in.size()) + " bytes, at most " + std::to_string(max_bytes) + " are read");
  }
  std::string text(in.size(), '\0');
  if (in.read(text) != text.size()) {
    throw Error(ErrorKind::io, "cannot read " + in.path().string(), "it became shorter meanwhile");
  }
  return text;
}

}  // namespace

void throw_io(const std::string& what, const fs::path& file, int code) {
  throw Error(ErrorKind::io, what + " " + file.string(), std::strerror(code), advice(code));
}

RegularFile::RegularFile(const fs::path& file) : RegularFile(file, open_for_reading(file)) {}

RegularFile::RegularFile(const fs::path& file, int descriptor)
    : path_(file), descriptor_(descriptor) {
  if (descriptor_ < 0) throw_io("cannot read", file, errno);
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor_);
    throw Error(ErrorKind::io, "cannot read " + file.string(), "not a regular file");
  }
  size_ = static_cast<uint64_t>(status.st_size);
}

RegularFile::~RegularFile() {
  ::close(descriptor_);
}

size_t RegularFile::read(std::span<char> out) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::read(descriptor_, out.data() + done, out.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_io("cannot read", path_, errno);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

bool file_exists(const fs::path& file) {
  std::error_code code;
  const fs::file_status status = fs::status(file, code);
  if (status.type() == fs::file_type::none) throw_io("cannot look at", file, code.value());
  return fs::exists(status);
}

std::string read_file(const fs::path& file, uint64_t max_bytes) {
  RegularFile in(file);
  return read_whole(in, max_bytes);
}

std::optional<std::string> read_file_if_there(const fs::path& file, uint64_t max_bytes) {
  const int descriptor = open_for_reading(file);
  if (descriptor < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  RegularFile in(file, descriptor);
  return read_whole(in, max_bytes);
}

std::string file_error_text(const fs::filesystem_error& error) {
  return Error(ErrorKind::io, "cannot use " + error.path1().string(), error.code().message())
      .what();
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
