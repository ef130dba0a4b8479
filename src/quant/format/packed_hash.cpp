#include "quant/format/packed_hash.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/hash.hpp"

namespace qsweep::quant {

std::array<const device::Buffer*, 3> hashed_parts(const PackedMatrix& matrix) {
  return {&matrix.codes, &matrix.scales, &matrix.zeros};
}

std::string packed_hash(const PackedMatrix& matrix) {
  std::vector<std::byte> digests;
  Sha256 hash;
  for (const device::Buffer* part : hashed_parts(matrix)) {
    expect(part->place() == device::Place::host, "bytes that the host hashes lie there");
    for (size_t at = 0; at < part->size(); at += hash_piece) {
      hash.update(part->bytes().subspan(at, std::min(hash_piece, part->size() - at)));
      const Sha256::Digest digest = hash.digest();
      digests.insert(digests.end(), digest.begin(), digest.end());
    }
  }
  return packed_hash(matrix, digests);
}

std::string packed_hash(const PackedMatrix& matrix, std::span<const std::byte> digests) {
  Sha256 hash;
  hash.update(digests);
  hash.update(to_string(matrix.spec) + " [" + std::to_string(matrix.rows) + ", " +
              std::to_string(matrix.cols) + "]");
  return hash.hex();
}

}  // namespace qsweep::quant
