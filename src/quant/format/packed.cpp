// The hash of a packed matrix, wherever its bytes are.
#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/hash.hpp"
#include "device/gpu.hpp"
#include "device/pinned.hpp"
#include "quant/format/format.hpp"
#include "quant/format/parallel.hpp"

namespace qsweep::quant {
namespace {

// Hashes one matrix after another; bytes on the GPU come back a pinned piece at a time.
class Hasher {
 public:
  std::string operator()(const PackedMatrix& matrix) {
    Sha256 hash;
    for (const device::Buffer* part : {&matrix.codes, &matrix.scales, &matrix.zeros}) {
      update(hash, *part);
    }
    hash.update(to_string(matrix.spec) + " [" + std::to_string(matrix.rows) + ", " +
                std::to_string(matrix.cols) + "]");
    return hash.hex();
  }

 private:
  void update(Sha256& hash, const device::Buffer& buffer) {
    if (buffer.place() == device::Place::host) {
      hash.update(buffer.bytes());
      return;
    }
    if (!piece_) piece_.emplace();
    for (size_t at = 0; at < buffer.size(); at += device::PinnedPiece::bytes) {
      const size_t count = std::min(device::PinnedPiece::bytes, buffer.size() - at);
      device::copy_bytes(piece_->data(), device::Place::host, buffer.data() + at, buffer.place(),
                         count);
      hash.update(std::span<const std::byte>(piece_->data(), count));
    }
  }

  std::optional<device::PinnedPiece> piece_;
};

}  // namespace

std::string packed_hash(const PackedMatrix& matrix) {
  return Hasher()(matrix);
}

// Matrices differ in size and the large ones follow each other, so each worker takes every nth.
std::vector<std::string> packed_hashes(std::span<const PackedMatrix* const> matrices, int threads) {
  std::vector<std::string> hashes(matrices.size());
  const auto workers = std::clamp<size_t>(static_cast<size_t>(std::max(threads, 1)), 1,
                                          std::max<size_t>(matrices.size(), 1));
  format::for_pieces(
      static_cast<int64_t>(workers), static_cast<int>(workers), [&](int64_t begin, int64_t end) {
        Hasher hasher;
        for (int64_t worker = begin; worker < end; ++worker) {
          for (auto i = static_cast<size_t>(worker); i < matrices.size(); i += workers) {
            hashes[i] = hasher(*matrices[i]);
          }
        }
      });
  return hashes;
}

}  // namespace qsweep::quant
