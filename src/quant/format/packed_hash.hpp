// The hash of a packed matrix, in two levels, so that all its pieces can be hashed at once. With H
// = SHA-256 (FIPS 180-4, section 6.2) and || for concatenation:
//
//   packed_hash = hex(H(D(codes) || D(scales) || D(zeros) || text))
//   D(part) = H(piece 0) || H(piece 1) || ...: 32 bytes for each hash_piece bytes of the part, the
//             last piece as short as it is; nothing of an empty part
//   text    = to_string(spec) + " [rows, cols]", as in "int4 g128 e5m5 [3072, 8192]"
//
// Spec and shape say where each part ends, so lengths need not be hashed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quant/format/format.hpp"

namespace qsweep::quant {

// Bytes. A GPU hashes a piece in one thread and wants some 2^16 of them to be busy, which 0.5 GB of
// weights are; larger pieces leave fewer digests to copy and to hash on the host, 1/256 of the
// weights.
inline constexpr size_t hash_piece = 8192;
inline constexpr size_t digest_bytes = 32;

// Pieces of a part of so many bytes; the last may be short.
constexpr int64_t hash_pieces(size_t bytes) {
  return static_cast<int64_t>((bytes + hash_piece - 1) / hash_piece);
}
// In the order in which they are hashed.
std::array<const device::Buffer*, 3> hashed_parts(const PackedMatrix& matrix);

// 64 hex digits. The matrix lies on the host; kernels/packed_hash hashes several, wherever they
// are.
std::string packed_hash(const PackedMatrix& matrix);
// The second level, from D(codes) || D(scales) || D(zeros).
std::string packed_hash(const PackedMatrix& matrix, std::span<const std::byte> digests);

}  // namespace qsweep::quant
