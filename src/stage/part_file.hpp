// A file that grows as bytes arrive, hashed on the way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/hash.hpp"

namespace qsweep::stage {

class PartFile {
 public:
  // Opens or makes it. `git_size`: the size that a git blob's SHA-1 begins with; nothing: none is
  // computed. `keep`: hash what is there and go on behind it, else start anew. Throws Error{io}.
  PartFile(const std::filesystem::path& file, std::optional<uint64_t> git_size, bool keep);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  uint64_t size() const { return size_; }
  void restart();                            // drops all bytes
  void append(std::span<const char> bytes);  // throws Error{io}
  // Syncs and ends the hashes.
  struct Hashes {
    std::string sha256, git_sha1;  // the latter empty without git_size
  };
  Hashes finish();

 private:
  void start_hashes();
  void read_existing();
  std::filesystem::path path_;
  std::optional<uint64_t> git_size_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  std::unique_ptr<Hash> sha256_, sha1_;
};

}  // namespace qsweep::stage
