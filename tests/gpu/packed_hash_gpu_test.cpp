// packed_hashes() on the GPU: the host's hashes, for odd sizes, for every format, and in turns.
#include "kernels/packed_hash/packed_hash.hpp"

#include "gpu/on_gpu.hpp"
#include "unit/format/hashed_bytes.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep {
namespace {

using quant::PackedMatrix;

void expect_the_hosts_hashes(const std::vector<PackedMatrix>& host, const char* what) {
  std::vector<PackedMatrix> gpu;
  std::vector<const PackedMatrix*> pointers;
  for (const PackedMatrix& matrix : host) gpu.push_back(test::copy_on_gpu(matrix));
  for (const PackedMatrix& matrix : gpu) pointers.push_back(&matrix);
  device::Context context = test::gpu_context();
  for (const int threads : {1, 8}) {
    context.threads = threads;
    const auto hashes = kernels::packed_hashes(context, pointers);
    ASSERT_EQ(hashes.size(), host.size());
    for (size_t i = 0; i < host.size(); ++i) {
      ASSERT_EQ(hashes[i], quant::packed_hash(host[i]))
          << what << " " << i << ", " << quant::to_string(host[i].spec);
    }
  }
}

// Around the borders of padding, blocks and pieces; then some megabytes, where all blocks of the
// grid are full.
TEST(PackedHashGpu, OddSizes) {
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  std::vector<PackedMatrix> host;
  for (const auto& [codes, scales, zeros] : quant::hashed_sizes) {
    host.push_back(quant::matrix_of_bytes(codes, scales, zeros));
  }
  for (size_t bytes = 0; bytes < 140; ++bytes) {
    host.push_back(quant::matrix_of_bytes(bytes, bytes + 8192 - 70, 2 * bytes + 1));
  }
  host.push_back(quant::matrix_of_bytes(40'000'003, 1'250'017, 312'500));
  expect_the_hosts_hashes(host, "matrix");
}

TEST(PackedHashGpu, EveryFormatAndCodec) {
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  std::vector<PackedMatrix> host;
  const auto weights = quant::gaussian(70 * 256, 3);
  for (const quant::FormatSpec& spec : quant::all_specs({quant::per_channel, 64, 7})) {
    host.push_back(quant::quantize_rtn(spec, weights, 70, 256));
  }
  expect_the_hosts_hashes(host, "format");
}

TEST(PackedHashGpu, SeesAChangedByte) {
  QSWEEP_NEEDS_GPU();
  const device::Context context = test::gpu_context();
  const PackedMatrix host = quant::matrix_of_bytes(3 * quant::hash_piece + 77, 100, 9);
  PackedMatrix gpu = test::copy_on_gpu(host);
  const PackedMatrix* pointer = &gpu;
  const auto hash = [&] { return kernels::packed_hashes(context, {&pointer, 1})[0]; };
  const auto flip = [&](device::Buffer& part, size_t at) {
    std::byte byte{};
    device::copy_bytes(&byte, device::Place::host, part.data() + at, device::Place::gpu, 1);
    byte ^= std::byte{1};
    device::copy_bytes(part.data() + at, device::Place::gpu, &byte, device::Place::host, 1);
  };
  const std::string whole = hash();
  for (device::Buffer* part : {&gpu.codes, &gpu.scales, &gpu.zeros}) {
    for (const size_t at : {size_t{0}, part->size() / 2, part->size() - 1}) {
      flip(*part, at);
      EXPECT_NE(hash(), whole) << at;
      flip(*part, at);
    }
  }
  EXPECT_EQ(hash(), whole);
}

// As where memory has no room for all digests.
TEST(PackedHashGpu, TurnsGiveTheSameDigests) {
  QSWEEP_NEEDS_GPU();
  const device::Context context = test::gpu_context();
  const PackedMatrix gpu = test::copy_on_gpu(quant::matrix_of_bytes(1'234'567, 98'765, 0));
  const int64_t of_codes = quant::hash_pieces(gpu.codes.size());
  const std::array<kernels::HashedPart, 2> parts = {
      {{gpu.codes.data(), static_cast<int64_t>(gpu.codes.size()), 0},
       {gpu.scales.data(), static_cast<int64_t>(gpu.scales.size()), of_codes}}};
  const int64_t pieces = of_codes + quant::hash_pieces(gpu.scales.size());
  const auto digests = [&](int64_t most_at_once) {
    std::vector<std::byte> result(static_cast<size_t>(pieces) * quant::digest_bytes);
    kernels::cuda::hash_pieces(context, parts, pieces, result.data(), most_at_once);
    return result;
  };
  const auto at_once = digests(pieces);
  for (const int64_t most : {1, 7, 64, 100}) EXPECT_EQ(digests(most), at_once) << most;
}

}  // namespace
}  // namespace qsweep
