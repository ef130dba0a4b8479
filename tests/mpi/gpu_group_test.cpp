// Weights handed on between the GPUs of a node. Needs a GPU for each rank, and skips aloud without.
// ranks: 1 2
#include "device/gpu_group.hpp"

#include <gtest/gtest.h>

#include <iostream>
#include <memory>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "comm/communicator.hpp"
#include "device/gpu.hpp"
#include "kernels/packed_hash/packed_hash.hpp"
#include "model/model.hpp"
#include "quant/format/format.hpp"
#include "unit/source_folder.hpp"

namespace qsweep {
namespace {

using device::Buffer;
using device::GpuGroup;
using device::MemoryClass;
using device::Place;

std::unique_ptr<comm::Communicator> world;
device::Context context;

std::string id_from_rank_0() {
  return world->broadcast(world->rank() == 0 ? GpuGroup::make_id() : "", 0);
}

std::unique_ptr<GpuGroup> joined() {
  return std::make_unique<GpuGroup>(context, id_from_rank_0(), world->rank(), world->size(), 60);
}

std::byte expected_byte(size_t piece, size_t i) {
  return static_cast<std::byte>((i * 2654435761u >> 11) + piece);
}

TEST(GpuGroup, BytesOfRank0AreEveryRanks) {
  const auto group = joined();
  std::vector<Buffer> buffers;
  std::vector<std::span<std::byte>> pieces;
  for (const size_t bytes : {size_t{1}, size_t{4097}, size_t{10'000'019}}) {
    std::vector<std::byte> host(bytes);
    for (size_t i = 0; i < bytes && world->rank() == 0; ++i) {
      host[i] = expected_byte(buffers.size(), i);
    }
    Buffer& buffer = buffers.emplace_back(bytes, MemoryClass::weights, Place::gpu);
    device::copy_bytes(buffer.data(), Place::gpu, host.data(), Place::host, bytes);
    pieces.emplace_back(buffer.data(), buffer.size());
  }
  group->broadcast(pieces, 0, 60);
  for (size_t piece = 0; piece < buffers.size(); ++piece) {
    std::vector<std::byte> host(buffers[piece].size());
    device::copy_bytes(host.data(), Place::host, buffers[piece].data(), Place::gpu, host.size());
    size_t wrong = 0;
    for (size_t i = 0; i < host.size(); ++i) wrong += host[i] == expected_byte(piece, i) ? 0 : 1;
    EXPECT_EQ(wrong, 0u) << "piece " << piece << " on rank " << world->rank();
  }
}

TEST(GpuGroup, TellsItsRate) {
  const auto group = joined();
  Buffer buffer(size_t{1} << 30, MemoryClass::weights, Place::gpu);
  const std::span<std::byte> piece(buffer.data(), buffer.size());
  for (int round = 0; round < 3; ++round) {
    world->barrier();
    const Stopwatch watch;
    group->broadcast({&piece, 1}, 0, 60);
    if (world->rank() == 0) {
      std::cout << "  1 GiB to " << world->size()
                << " GPU(s): " << static_cast<double>(piece.size()) * 1e-9 / watch.seconds()
                << " GB/s\n";
    }
  }
}

// What the checkpoint's bytes are on rank 0 they are on the others, which never read them.
TEST(GpuGroup, AModelIsReceivedWhole) {
  const auto checkpoint = model::Checkpoint::open(test::source_folder() / "data" / "mini-phi3");
  model::LoadReport report, own;
  const auto raw = world->rank() == 0 ? model::RawWeights::read : model::RawWeights::received;
  const auto received = model::build_model(checkpoint, {}, context, nullptr, &report, raw);
  EXPECT_EQ(report.read_bytes > 0, world->rank() == 0);
  ASSERT_FALSE(report.raw.empty());
  joined()->broadcast(report.raw, 0, 60);
  const auto read = model::build_model(checkpoint, {}, context, nullptr, &own);
  const auto ours = model::linears(std::as_const(*received));
  const auto theirs = model::linears(std::as_const(*read));
  ASSERT_EQ(ours.size(), theirs.size());
  const auto hashes = [](const auto& linears) {
    std::vector<const quant::PackedMatrix*> matrices;
    for (const model::Linear* linear : linears) matrices.push_back(linear->weight.get());
    return kernels::packed_hashes(context, matrices);
  };
  EXPECT_EQ(hashes(ours), hashes(theirs));
}

TEST(GpuGroup, APeerThatNeverComesIsNoHang) {
  if (world->size() == 1) GTEST_SKIP() << "needs a peer";
  const std::string id = id_from_rank_0();
  if (world->rank() == 0) {
    const Stopwatch watch;
    try {
      const GpuGroup group(context, id, 0, world->size(), 3);
      ADD_FAILURE() << "joined nobody";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::internal);
      EXPECT_NE(std::string(error.what()).find("--load each"), std::string::npos);
    }
    EXPECT_LT(watch.seconds(), 30);
  }
  world->barrier();
}

TEST(GpuGroup, APeerThatLeavesIsNoHang) {
  if (world->size() == 1) GTEST_SKIP() << "needs a peer";
  const auto group = joined();
  Buffer buffer(size_t{64} << 20, MemoryClass::weights, Place::gpu);
  const std::span<std::byte> piece(buffer.data(), buffer.size());
  if (world->rank() == 1) {
    const Stopwatch watch;
    EXPECT_THROW(group->broadcast({&piece, 1}, 0, 3), Error);
    EXPECT_LT(watch.seconds(), 30);
  }
  world->barrier();
  // The GPU works on.
  const std::vector<int> host = {1, 2, 3};
  std::vector<int> back(3);
  device::copy_bytes(buffer.data(), Place::gpu, host.data(), Place::host, 12);
  device::copy_bytes(back.data(), Place::host, buffer.data(), Place::gpu, 12);
  EXPECT_EQ(back, host);
}

}  // namespace
}  // namespace qsweep

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  qsweep::world = std::make_unique<qsweep::comm::Communicator>();
  const qsweep::comm::Communicator& world = *qsweep::world;
  const int gpus = qsweep::device::gpu_count();
  const std::string problem = gpus < world.local_size()
                                  ? "needs a GPU for each rank, there are " + std::to_string(gpus)
                                  : qsweep::device::GpuGroup::problem();
  bool all = true;
  for (const std::string& text : world.all_gather(problem)) all = all && text.empty();
  if (!all) {
    if (world.rank() == 0) std::cout << "skipped: " << problem << "\n";
    qsweep::world.reset();
    return 77;
  }
  qsweep::context = qsweep::device::open_gpu(world.local_rank(), world.local_size(), false);
  const int outcome = RUN_ALL_TESTS();
  qsweep::world.reset();
  return outcome;
}
