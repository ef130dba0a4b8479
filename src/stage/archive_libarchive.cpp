#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <string_view>

#include "base/error.hpp"
#include "stage/archive.hpp"

namespace qsweep::stage {
namespace {

constexpr uint64_t block_bytes = 128 * 1024;

// A position in the source, as libarchive's callbacks want it; nothing may be thrown through C.
struct Stream {
  const ByteSource& source;
  uint64_t position = 0;
  std::string block;
  std::exception_ptr failure;
};

la_ssize_t on_read(archive*, void* context, const void** bytes) {
  auto& stream = *static_cast<Stream*>(context);
  try {
    const uint64_t left = stream.source.size - std::min(stream.position, stream.source.size);
    stream.block = stream.source.read(stream.position, std::min(block_bytes, left));
    stream.position += stream.block.size();
    *bytes = stream.block.data();
    return static_cast<la_ssize_t>(stream.block.size());
  } catch (...) {
    if (!stream.failure) stream.failure = std::current_exception();
    return ARCHIVE_FATAL;
  }
}

la_int64_t on_skip(archive*, void* context, la_int64_t bytes) {
  auto& stream = *static_cast<Stream*>(context);
  const uint64_t left = stream.source.size - std::min(stream.position, stream.source.size);
  const uint64_t step = std::min(left, static_cast<uint64_t>(std::max<la_int64_t>(bytes, 0)));
  stream.position += step;
  return static_cast<la_int64_t>(step);
}

la_int64_t on_seek(archive*, void* context, la_int64_t offset, int whence) {
  auto& stream = *static_cast<Stream*>(context);
  const auto size = static_cast<la_int64_t>(stream.source.size);
  la_int64_t base = 0;
  if (whence == SEEK_CUR) base = static_cast<la_int64_t>(stream.position);
  if (whence == SEEK_END) base = size;
  const la_int64_t target = base + offset;
  if (target < 0 || target > size) return ARCHIVE_FATAL;
  stream.position = static_cast<uint64_t>(target);
  return target;
}

bool leads_out(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos)
    return true;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    if (name.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

class Reader {
 public:
  Reader(const ByteSource& source, const ArchiveBounds& bounds)
      : bounds_(bounds), stream_{source, 0, {}, nullptr}, archive_(archive_read_new()) {
    expect(archive_ != nullptr, "libarchive gives a reader");
    archive_read_support_format_zip_seekable(get());
    archive_read_support_format_tar(get());
    archive_read_support_filter_gzip(get());
    archive_read_set_read_callback(get(), on_read);
    archive_read_set_skip_callback(get(), on_skip);
    archive_read_set_seek_callback(get(), on_seek);
    archive_read_set_callback_data(get(), &stream_);
    check(archive_read_open1(get()), "cannot be opened");
  }

  // The next entry's name, checked; false at the end.
  bool next(std::string& name) {
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(get(), &entry);
    if (code == ARCHIVE_EOF) return false;
    check(code, "is damaged");
    if (++entries_ > bounds_.max_entries)
      refuse("it has more than " + std::to_string(bounds_.max_entries) + " entries");
    const char* path = archive_entry_pathname(entry);
    name = path == nullptr ? "" : path;
    if (name.starts_with("./")) name.erase(0, 2);
    const auto type = archive_entry_filetype(entry);
    if (name.empty() && path != nullptr && type == AE_IFDIR) return true;
    if (leads_out(name)) refuse("the entry '" + name.substr(0, 200) + "' leads out of its folder");
    if (archive_entry_symlink(entry) != nullptr || archive_entry_hardlink(entry) != nullptr ||
        type == AE_IFLNK)
      refuse("the entry '" + name.substr(0, 200) + "' is a link");
    if (type != AE_IFREG && type != AE_IFDIR)
      refuse("the entry '" + name.substr(0, 200) + "' is a device, a pipe or a socket");
    if (archive_entry_is_encrypted(entry) != 0)
      refuse("the entry '" + name.substr(0, 200) + "' is encrypted");
    // A compressed tar is unpacked to be skipped, within one call: its sizes are judged before.
    const bool packed_as_one = archive_filter_count(get()) > 1;
    if (packed_as_one && archive_entry_size_is_set(entry) != 0)
      count(static_cast<uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0)));
    counts_members_ = !packed_as_one;
    return true;
  }

  std::string read(const std::string& name) {
    std::string bytes, block(block_bytes, '\0');
    while (true) {
      const la_ssize_t n = archive_read_data(get(), block.data(), block.size());
      if (n == 0) return bytes;
      if (n < 0) check(static_cast<int>(n), "is damaged");
      const auto size = static_cast<size_t>(n);
      if (bytes.size() + size > bounds_.max_member) {
        refuse("the entry '" + name.substr(0, 200) + "' unpacks to more than " +
               std::to_string(bounds_.max_member) + " bytes");
      }
      if (counts_members_) count(size);
      bytes.append(block.data(), size);
    }
  }

  [[noreturn]] void refuse(const std::string& why) const {
    throw_invalid(
        "archive refused: " + stream_.source.name, why,
        "it is not what its publisher packed, or the list of datasets names a wrong file");
  }

 private:
  archive* get() { return archive_.get(); }
  void check(int code, const std::string& what) {
    if (stream_.failure) std::rethrow_exception(stream_.failure);
    if (code == ARCHIVE_OK || code == ARCHIVE_WARN) return;
    const char* why = archive_error_string(get());
    throw_invalid("archive " + stream_.source.name + " " + what, why == nullptr ? "" : why);
  }
  void count(uint64_t bytes) {
    unpacked_ += bytes;
    const bool huge = unpacked_ > bounds_.max_unpacked || bytes > bounds_.max_unpacked;
    const bool dense =
        unpacked_ > bounds_.free_bytes && unpacked_ / bounds_.max_ratio > stream_.source.size;
    if (huge || dense)
      refuse("it unpacks to more than its " + std::to_string(stream_.source.size) +
             " bytes can hold");
  }

  struct Free {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  ArchiveBounds bounds_;
  Stream stream_;
  std::unique_ptr<archive, Free> archive_;
  uint64_t entries_ = 0, unpacked_ = 0;
  bool counts_members_ = true;
};

}  // namespace

std::map<std::string, std::string> read_members(const ByteSource& source,
                                                const std::set<std::string>& wanted,
                                                const ArchiveBounds& bounds) {
  Reader reader(source, bounds);
  std::map<std::string, std::string> members;
  for (std::string name; reader.next(name);) {
    if (!wanted.contains(name)) continue;
    if (members.contains(name)) reader.refuse("the entry '" + name + "' stands twice");
    members[name] = reader.read(name);
  }
  for (const std::string& name : wanted) {
    if (!members.contains(name)) reader.refuse("it has no entry '" + name.substr(0, 200) + "'");
  }
  return members;
}

}  // namespace qsweep::stage
