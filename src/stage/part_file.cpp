#include "stage/part_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep::stage {

PartFile::PartFile(const std::filesystem::path& file, std::optional<uint64_t> git_size, bool keep)
    : path_(file), git_size_(git_size) {
  create_folders(file.parent_path());
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (descriptor_ < 0) throw_io("cannot open", file, errno);
  try {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode))
      throw Error(ErrorKind::io, "cannot write " + file.string(), "not a regular file",
                  "remove it");
    start_hashes();
    if (keep) {
      read_existing();
    } else {
      restart();
    }
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

PartFile::~PartFile() {
  ::close(descriptor_);
}

void PartFile::start_hashes() {
  size_ = 0;
  sha256_ = std::make_unique<Hash>(HashKind::sha256);
  if (!git_size_) return;
  sha1_ = std::make_unique<Hash>(HashKind::sha1);
  const std::string head = "blob " + std::to_string(*git_size_);
  sha1_->update(std::string_view(head.c_str(), head.size() + 1));  // its NUL included
}

void PartFile::read_existing() {
  std::vector<char> block(1 << 20);
  while (true) {
    const ssize_t n = ::read(descriptor_, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_io("cannot read", path_, errno);
    if (n == 0) return;
    const std::string_view bytes(block.data(), static_cast<size_t>(n));
    sha256_->update(bytes);
    if (sha1_) sha1_->update(bytes);
    size_ += bytes.size();
  }
}

void PartFile::restart() {
  if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0)
    throw_io("cannot empty", path_, errno);
  start_hashes();
}

void PartFile::append(std::span<const char> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_io("cannot write", path_, errno);
    done += static_cast<size_t>(n);
  }
  const std::string_view text(bytes.data(), bytes.size());
  sha256_->update(text);
  if (sha1_) sha1_->update(text);
  size_ += bytes.size();
}

PartFile::Hashes PartFile::finish() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != ENOTSUP)
    throw_io("cannot sync", path_, errno);
  return {sha256_->hex(), sha1_ ? sha1_->hex() : ""};
}

}  // namespace qsweep::stage
