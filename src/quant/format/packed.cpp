// The hash of a packed matrix, wherever its bytes are.
#include <algorithm>
#include <span>
#include <vector>

#include "base/hash.hpp"
#include "device/gpu.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant {
namespace {

// Bytes on the GPU come back a piece at a time: a model's largest matrix takes gigabytes.
void update_hash(Sha256& hash, const device::Buffer& buffer) {
  if (buffer.place() == device::Place::host) {
    hash.update(buffer.bytes());
    return;
  }
  constexpr size_t piece_bytes = size_t{32} << 20;
  std::vector<std::byte> piece(std::min(piece_bytes, buffer.size()));
  for (size_t at = 0; at < buffer.size(); at += piece.size()) {
    const size_t count = std::min(piece.size(), buffer.size() - at);
    device::copy_bytes(piece.data(), device::Place::host, buffer.data() + at, buffer.place(),
                       count);
    hash.update(std::span<const std::byte>(piece.data(), count));
  }
}

}  // namespace

std::string packed_hash(const PackedMatrix& matrix) {
  Sha256 hash;
  update_hash(hash, matrix.codes);
  update_hash(hash, matrix.scales);
  update_hash(hash, matrix.zeros);
  hash.update(to_string(matrix.spec) + " [" + std::to_string(matrix.rows) + ", " +
              std::to_string(matrix.cols) + "]");
  return hash.hex();
}

}  // namespace qsweep::quant
