// SHA-256, and SHA-1 where others name things by it (OpenSSL), as lower-case hex or as bytes.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace qsweep {

enum class HashKind { sha1, sha256 };

class Hash {
 public:
  explicit Hash(HashKind kind);
  ~Hash();
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text);
  std::string hex();  // ends the hash; 40 digits (SHA-1) or 64

 protected:
  // Ends the hash, writes its bytes (at most 64) to `digest` and says how many; the next update()
  // begins another, for less than a new object costs.
  size_t finish(std::byte* digest);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Sha256 : public Hash {
 public:
  using Digest = std::array<std::byte, 32>;
  Sha256() : Hash(HashKind::sha256) {}
  // Ends the hash; the next update() begins another.
  Digest digest();
};

std::string sha256_hex(std::string_view text);
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_file(const std::filesystem::path& file);  // throws Error{io}

}  // namespace qsweep
