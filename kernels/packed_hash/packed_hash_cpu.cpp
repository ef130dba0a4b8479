// Threads share the pieces of all matrices evenly, then the matrices.
#include "kernels/packed_hash/packed_hash.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "kernels/common.hpp"
#include "quant/format/packed_hash.hpp"
#include "quant/format/parallel.hpp"

namespace qsweep::kernels {
namespace {

using quant::digest_bytes;
using quant::hash_piece;
using quant::PackedMatrix;

// A thread takes some 20 us to start, in which one hashes 10 to 40 KB.
int threads_for(const device::Context& context, uint64_t bytes) {
  constexpr uint64_t worth_a_thread = uint64_t{256} << 10;
  return static_cast<int>(
      std::min<uint64_t>(static_cast<uint64_t>(threads_of(context)), 1 + bytes / worth_a_thread));
}

// The part that piece `i` belongs to.
std::span<const HashedPart>::iterator part_of(std::span<const HashedPart> parts, int64_t i) {
  return std::upper_bound(
             parts.begin(), parts.end(), i,
             [](int64_t piece, const HashedPart& part) { return piece < part.first_piece; }) -
         1;
}

void hash_pieces(const device::Context& context, std::span<const HashedPart> parts, int64_t pieces,
                 std::byte* digests) {
  constexpr auto longest = static_cast<int64_t>(hash_piece);
  const int threads = threads_for(context, static_cast<uint64_t>(pieces) * hash_piece);
  quant::format::for_pieces(pieces, threads, [&](int64_t begin, int64_t end) {
    Sha256 hash;
    for (int64_t i = begin; i < end; ++i) {
      const HashedPart& part = *part_of(parts, i);
      const int64_t at = (i - part.first_piece) * longest;
      hash.update({part.data + at, static_cast<size_t>(std::min(longest, part.bytes - at))});
      const Sha256::Digest digest = hash.digest();
      std::copy(digest.begin(), digest.end(), digests + i * static_cast<int64_t>(digest_bytes));
    }
  });
}

// All parts that are not empty.
std::vector<HashedPart> parts_of(std::span<const PackedMatrix* const> matrices,
                                 device::Place place) {
  std::vector<HashedPart> parts;
  int64_t pieces = 0;
  for (const PackedMatrix* matrix : matrices) {
    for (const device::Buffer* part : quant::hashed_parts(*matrix)) {
      if (part->size() == 0) continue;
      expect(part->place() == place, "matrices to be hashed lie in the context's place");
      parts.push_back({part->data(), static_cast<int64_t>(part->size()), pieces});
      pieces += quant::hash_pieces(part->size());
    }
  }
  return parts;
}

// digests [pieces, digest_bytes] of one matrix after the other.
std::vector<std::string> second_level(const device::Context& context,
                                      std::span<const PackedMatrix* const> matrices,
                                      std::span<const std::byte> digests) {
  std::vector<size_t> first = {0};  // byte of each matrix, and the number of all
  for (const PackedMatrix* matrix : matrices) {
    int64_t pieces = 0;
    for (const device::Buffer* part : quant::hashed_parts(*matrix)) {
      pieces += quant::hash_pieces(part->size());
    }
    first.push_back(first.back() + static_cast<size_t>(pieces) * digest_bytes);
  }
  std::vector<std::string> hashes(matrices.size());
  quant::format::for_pieces(
      static_cast<int64_t>(matrices.size()), threads_for(context, digests.size()),
      [&](int64_t begin, int64_t end) {
        for (auto m = static_cast<size_t>(begin); m < static_cast<size_t>(end); ++m) {
          hashes[m] =
              quant::packed_hash(*matrices[m], digests.subspan(first[m], first[m + 1] - first[m]));
        }
      });
  return hashes;
}

}  // namespace

std::vector<std::string> packed_hashes(const device::Context& context,
                                       std::span<const PackedMatrix* const> matrices) {
  const std::vector<HashedPart> parts = parts_of(matrices, context.place());
  const int64_t pieces =
      parts.empty()
          ? 0
          : parts.back().first_piece + quant::hash_pieces(static_cast<size_t>(parts.back().bytes));
  device::Buffer digests(static_cast<size_t>(pieces) * digest_bytes,
                         device::MemoryClass::workspace);
  if (pieces > 0) {
    count(context, "packed_hash/pieces");
    if (on_gpu(context)) {
      cuda::hash_pieces(context, parts, pieces, digests.data());
    } else {
      hash_pieces(context, parts, pieces, digests.data());
    }
  }
  return second_level(context, matrices, digests.bytes());
}

}  // namespace qsweep::kernels
