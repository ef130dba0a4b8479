// Files read whole within a bound, mapped read-only, or written whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qsweep {

// A regular file, open for reading; symbolic links are followed. A pipe or a device in its place is
// refused at once instead of waiting for its writer. Throws Error{io}.
class RegularFile {
 public:
  explicit RegularFile(const std::filesystem::path& file);
  ~RegularFile();
  RegularFile(const RegularFile&) = delete;
  RegularFile& operator=(const RegularFile&) = delete;
  uint64_t size() const noexcept { return size_; }  // when it was opened
  int descriptor() const noexcept { return descriptor_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  size_t read(std::span<char> out);  // as much as there is; 0 at the end
  // Of a descriptor that was opened elsewhere, -1 with its errno included; it is closed here.
  RegularFile(const std::filesystem::path& file, int descriptor);

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// Whether the name stands for anything. A name that cannot be looked at (no permission, a circle of
// links) throws Error{io}: taken for a missing file, it would silently change what is read.
bool file_exists(const std::filesystem::path& file);

// Throws Error{io} if unreadable, Error{invalid_input} if larger than max_bytes.
std::string read_file(const std::filesystem::path& file, uint64_t max_bytes);
// The same, or nothing where there is no such file: one open and one stat, for folders of many
// thousand files on a parallel file system.
std::optional<std::string> read_file_if_there(const std::filesystem::path& file,
                                              uint64_t max_bytes);

// Writes to a temporary name beside `file`, syncs file and folder, renames: a reader sees the old
// file or the whole new one. Creates missing parent folders. Throws Error{io}; leaves no temporary
// behind.
void write_file_atomic(const std::filesystem::path& file, std::string_view text);

// The same for writers that need a path: `write` fills the temporary file it is given.
void write_atomic(const std::filesystem::path& file,
                  const std::function<void(const std::filesystem::path& temporary)>& write);

// Renames a file that is whole and synced onto another name of the same file system and syncs that
// folder. Throws Error{io}.
void replace_file(const std::filesystem::path& from, const std::filesystem::path& to);

// Creates a folder and its missing parents and syncs what holds each new one, so that a file synced
// into it survives a crash. Throws Error{io}.
void create_folders(const std::filesystem::path& folder);

// Throws Error{io}: `what` file (the system's reason for `code`, an errno).
[[noreturn]] void throw_io(const std::string& what, const std::filesystem::path& file, int code);

// Suffix of every temporary name, so that leftovers of a dead process are recognised.
inline constexpr std::string_view temporary_suffix = ".qsweep-tmp";

// A file mapped read-only for as long as the object lives. If it is shortened meanwhile, the bytes
// that are gone cannot be read any more and the process gets SIGBUS; `mapped_file_at` tells whose
// they were.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Path of the mapped file that holds the address, or nullptr. For handlers of signals: it locks and
// allocates nothing.
const char* mapped_file_at(const void* address) noexcept;

// `problem (why)` of what std::filesystem throws where no code was asked for.
std::string file_error_text(const std::filesystem::filesystem_error& error);

// Where a relative path written in `file` is looked for: the folder of `file`, its parents up to
// three, then the current folder.
std::vector<std::filesystem::path> search_folders(const std::filesystem::path& file);

// Whether `name` may stand as one component of a path: [A-Za-z0-9._+-]+, not starting with '.' or
// '-', at most 120 characters.
bool is_safe_name(std::string_view name);

}  // namespace qsweep
