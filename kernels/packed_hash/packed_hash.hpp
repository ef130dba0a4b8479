// packed_hashes: quant::packed_hash (src/quant/format/packed_hash.hpp) of each matrix, 64 hex
// digits
//   and the same on every backend. The matrices lie in the context's place; their sizes need not be
//   what spec and shape make them.
//   hash_pieces makes the first level, the digests of all pieces of all parts; the second is the
//   host's, 1/256 of the bytes. The reference is quant::packed_hash.
//   Bytes: the packed matrices once. Instructions: some 1400 for every 64 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "device/context.hpp"
#include "quant/format/format.hpp"

namespace qsweep::kernels {

// Part of a packed matrix that is not empty.
struct HashedPart {
  const std::byte* data;  // [bytes], at a multiple of 16
  int64_t bytes;
  int64_t first_piece;  // pieces of all parts in front of it
};

std::vector<std::string> packed_hashes(const device::Context& context,
                                       std::span<const quant::PackedMatrix* const> matrices);

namespace cuda {
// digests [pieces, quant::digest_bytes] on the host; pieces > 0, in the order of the parts. One
// kernel for all of them, which takes 32 bytes of workspace a piece; several in turn where there
// are more than `most_at_once` (8 GB of weights), or where memory has no room for that. Throws
// Error{resource} where it has none for 256 KB.
void hash_pieces(const device::Context& context, std::span<const HashedPart> parts, int64_t pieces,
                 std::byte* digests, int64_t most_at_once = int64_t{1} << 20);
}  // namespace cuda

}  // namespace qsweep::kernels
