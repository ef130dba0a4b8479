// packed_hashes() against the plain hash of each matrix, and the GPU's SHA-256, compiled for the
// host, against the standard's examples and OpenSSL.
#include "kernels/packed_hash/packed_hash.hpp"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "kernels/packed_hash/sha256.hpp"
#include "unit/format/hashed_bytes.hpp"

namespace qsweep {
namespace {

std::string hex_of(const device::Buffer& message, size_t bytes) {
  kernels::sha256::State state;
  kernels::sha256::hash(message.data(), static_cast<uint32_t>(bytes), state);
  std::string text;
  for (const uint32_t word : state) {
    std::array<char, 9> digits{};
    std::snprintf(digits.data(), digits.size(), "%08x", word);
    text += digits.data();
  }
  return text;
}

// FIPS 180-2, appendix B.1 and B.2.
TEST(Sha256OfAThread, GivesTheStandardsExamples) {
  const auto hash = [](std::string_view text) {
    device::Buffer message(text.size(), device::MemoryClass::workspace);
    std::copy(text.begin(), text.end(), message.as<char>());
    return hex_of(message, message.size());
  };
  EXPECT_EQ(hash("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256OfAThread, EqualsOpensslAtEveryLength) {
  const quant::PackedMatrix bytes = quant::matrix_of_bytes(quant::hash_piece + 130, 0, 0);
  const auto compare = [&](size_t from, size_t to) {
    for (size_t n = from; n < to; ++n) {
      ASSERT_EQ(hex_of(bytes.codes, n), sha256_hex(bytes.codes.bytes().first(n))) << n;
    }
  };
  compare(0, 400);
  compare(quant::hash_piece - 130, quant::hash_piece + 130);
}

TEST(PackedHashes, EqualThoseOfEachWhateverTheThreads) {
  std::vector<quant::PackedMatrix> matrices;
  std::vector<const quant::PackedMatrix*> pointers;
  for (const auto& [codes, scales, zeros] : quant::hashed_sizes) {
    matrices.push_back(quant::matrix_of_bytes(codes, scales, zeros));
  }
  matrices.push_back(quant::matrix_of_bytes(3'000'000, 70'001, 9));  // worth several threads
  for (const quant::PackedMatrix& matrix : matrices) pointers.push_back(&matrix);
  device::KernelCalls calls;
  device::Context context;
  context.calls = &calls;
  for (const int threads : {1, 2, 8}) {
    context.threads = threads;
    const auto hashes = kernels::packed_hashes(context, pointers);
    ASSERT_EQ(hashes.size(), matrices.size());
    for (size_t i = 0; i < matrices.size(); ++i) {
      EXPECT_EQ(hashes[i], quant::packed_hash(matrices[i])) << i << ", " << threads << " threads";
    }
  }
  EXPECT_EQ(calls.calls().at("packed_hash/pieces"), 3u);
  EXPECT_TRUE(kernels::packed_hashes(context, {}).empty());
}

}  // namespace
}  // namespace qsweep
