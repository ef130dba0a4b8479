#include "base/hash.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep {

struct Hash::State {
  EVP_MD_CTX* context = nullptr;
};

Hash::Hash(HashKind kind) : state_(std::make_unique<State>()) {
  state_->context = EVP_MD_CTX_new();
  const EVP_MD* method = kind == HashKind::sha1 ? EVP_sha1() : EVP_sha256();
  expect(state_->context != nullptr && EVP_DigestInit_ex(state_->context, method, nullptr) == 1,
         "OpenSSL offers the hash");
}

Hash::~Hash() {
  EVP_MD_CTX_free(state_->context);
}

void Hash::update(std::span<const std::byte> bytes) {
  expect(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1, "hash update");
}

void Hash::update(std::string_view text) {
  update(std::as_bytes(std::span<const char>(text.data(), text.size())));
}

size_t Hash::finish(std::byte* digest) {
  unsigned int size = 0;
  expect(EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(digest), &size) == 1,
         "hash final");
  // Without a method: the one it has, which need not be looked up again.
  expect(EVP_DigestInit_ex(state_->context, nullptr, nullptr) == 1, "hash restart");
  return size;
}

std::string Hash::hex() {
  std::array<std::byte, EVP_MAX_MD_SIZE> digest{};
  const size_t size = finish(digest.data());
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned>(digest[i]);
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

Sha256::Digest Sha256::digest() {
  std::array<std::byte, EVP_MAX_MD_SIZE> room{};
  finish(room.data());
  Digest digest{};
  std::copy_n(room.begin(), digest.size(), digest.begin());
  return digest;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::string sha256_file(const std::filesystem::path& file) {
  RegularFile in(file);
  Sha256 hash;
  std::vector<char> block(1 << 20);
  while (const size_t size = in.read(block)) hash.update(std::string_view(block.data(), size));
  return hash.hex();
}

}  // namespace qsweep
