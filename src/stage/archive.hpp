// Single members out of a zip or a gzipped tar, into memory. Nothing is ever written under a name
// that an archive brings; one that holds a name leading out of a folder, a link, a device or an
// encrypted member is refused as a whole, and so is one that unpacks to more than the bounds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>

namespace qsweep::stage {

struct ArchiveBounds {
  uint64_t max_entries = 100000;
  uint64_t max_member = 512ull << 20;     // bytes of a wanted member, unpacked
  uint64_t max_unpacked = 4096ull << 20;  // bytes of everything that is unpacked
  uint64_t max_ratio = 200;  // unpacked to packed, beyond free_bytes; text packs to a tenth
  uint64_t free_bytes = 16ull << 20;
};

// Where the bytes of an archive come from: read(begin, size) gives size bytes, or fewer at the end.
struct ByteSource {
  std::string name;  // for messages
  uint64_t size = 0;
  std::function<std::string(uint64_t begin, uint64_t size)> read;
};
// The file must outlive the source's use. Throws Error{io}.
ByteSource source_of_file(const std::filesystem::path& file);

// Name -> bytes of every wanted member. Throws Error{invalid_input} where one is missing, stands
// twice, or the archive is refused; errors of the source pass through.
std::map<std::string, std::string> read_members(const ByteSource& source,
                                                const std::set<std::string>& wanted,
                                                const ArchiveBounds& bounds = {});

}  // namespace qsweep::stage
