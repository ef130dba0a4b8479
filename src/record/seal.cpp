#include "record/seal.hpp"

#include "base/error.hpp"
#include "base/hash.hpp"

namespace qsweep::record {
namespace {
constexpr size_t seal_size = seal_word.size() + 64 + 1;
}

std::string seal(std::string bytes) {
  const std::string digest = sha256_hex(bytes);
  return bytes.append(seal_word).append(digest).append("\n");
}

std::string_view unseal(std::string_view sealed, const std::string& label) {
  if (sealed.size() < seal_size ||
      sealed.substr(sealed.size() - seal_size, seal_word.size()) != seal_word) {
    throw_invalid(label + " is not a whole run file", "it does not end with a qsweep seal",
                  "delete it and resume the sweep");
  }
  const std::string_view bytes = sealed.substr(0, sealed.size() - seal_size);
  const std::string_view digest = sealed.substr(sealed.size() - 65, 64);
  if (sealed.back() != '\n' || sha256_hex(bytes) != digest) {
    throw_invalid(label + " was altered after it was written",
                  "its SHA-256 is not that of its seal", "delete it and resume the sweep");
  }
  return bytes;
}

}  // namespace qsweep::record
