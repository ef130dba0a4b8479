// The hash of a packed matrix against hashes that Python made from its definition:
//
//   H = lambda b: hashlib.sha256(b).digest()
//   fill = lambda n, salt: bytes((i * 37 + (i >> 8) * 11 + salt) & 255 for i in range(n))
//   D = lambda part: b"".join(H(part[i:i + 8192]) for i in range(0, len(part), 8192))
//   H(D(fill(codes, 1)) + D(fill(scales, 2)) + D(fill(zeros, 3))
//     + b"int4 g128 e5m5 [3072, 8192]").hex()
#include "quant/format/packed_hash.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "unit/format/hashed_bytes.hpp"

namespace qsweep::quant {
namespace {

constexpr std::array<const char*, hashed_sizes.size()> expected = {
    "79c6a86fd2acf7bf6831317b9e5f717e808c9b2239114a01f90b20bfe1f24a1a",
    "1510ee6c5ffc66d0df79d6f669e06a2f15251c40e4112ce815fcd47aea0dacb6",
    "7692c4b9be6a641662dda258cfd35e9d92ceaa52333041ff0908c3e41d47fb3e",
    "def40e321542456fe99ffa067aface103b52345d01baa3a491f76f9d46fd25f3",
    "338828310bef4473f6bc1eb8053217447ed911124c281a6bed6ce7da37303c6d",
    "afbe5bf2699f7d5b353dfd0636f1ff96ed19bc04941c8131145decaf40df5803",
    "3532195ce76fb48f01cb87f1c5533e228d4e9fdc5e3c1ac04b93218796d5787d",
    "19832536578a57f93ef6d2d4080dadaba7f0c0bfb679955b9a2ad527e44ae575",
    "2f8e075b27f1ab380bcc147bc41e46311b2a2198ca6f74954c62a07530218f1c"};

TEST(PackedHash, IsWhatItsDefinitionSays) {
  for (size_t i = 0; i < hashed_sizes.size(); ++i) {
    const auto [codes, scales, zeros] = hashed_sizes[i];
    EXPECT_EQ(packed_hash(matrix_of_bytes(codes, scales, zeros)), expected[i])
        << codes << ", " << scales << ", " << zeros;
  }
}

TEST(PackedHash, SeesEveryByteOfEveryPiece) {
  PackedMatrix matrix = matrix_of_bytes(2 * hash_piece + 1, hash_piece, 3);
  const std::string whole = packed_hash(matrix);
  for (const device::Buffer* part : hashed_parts(matrix)) {
    for (const size_t at : {size_t{0}, hash_piece - 1, hash_piece, part->size() - 1}) {
      if (at >= part->size()) continue;
      std::byte& byte = const_cast<std::byte*>(part->data())[at];
      byte ^= std::byte{0x80};
      EXPECT_NE(packed_hash(matrix), whole) << at;
      byte ^= std::byte{0x80};
    }
  }
  EXPECT_EQ(packed_hash(matrix), whole);
}

TEST(PackedHash, CountsPieces) {
  EXPECT_EQ(hash_pieces(0), 0);
  EXPECT_EQ(hash_pieces(1), 1);
  EXPECT_EQ(hash_pieces(hash_piece), 1);
  EXPECT_EQ(hash_pieces(hash_piece + 1), 2);
}

}  // namespace
}  // namespace qsweep::quant
