// A thread hashes a piece. A piece takes its thread some 0.2 ms, so all parts of all matrices go
// into one kernel, whose threads look up theirs, instead of hundreds of kernels behind each other.
#include <algorithm>
#include <bit>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/packed_hash/packed_hash.hpp"
#include "kernels/packed_hash/sha256.hpp"
#include "quant/format/packed_hash.hpp"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;
using device::Context;
using quant::digest_bytes;
using quant::hash_piece;

constexpr int threads = 64;  // few, so that blocks spread evenly over the multiprocessors

Buffer workspace(size_t bytes) {
  return Buffer(bytes, device::MemoryClass::workspace, device::Place::gpu);
}

// The last part [count] that begins no later than `piece`.
__device__ HashedPart part_of(const HashedPart* parts, int count, int64_t piece) {
  int low = 0, high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (parts[middle].first_piece <= piece ? low : high) = middle;
  }
  return parts[low];
}

// digests [count, 32 bytes] of the pieces behind `first`.
__global__ void __launch_bounds__(threads)
    hash_by_thread(const HashedPart* parts, int part_count, int64_t first, int64_t count,
                   uint4* digests) {
  wait_for_previous();
  let_next_start();
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= count) return;
  const HashedPart part = part_of(parts, part_count, first + i);
  constexpr auto longest = static_cast<int64_t>(hash_piece);
  const int64_t at = (first + i - part.first_piece) * longest;
  const int64_t left = part.bytes - at;
  sha256::State h;
  sha256::hash(part.data + at, static_cast<uint32_t>(left < longest ? left : longest), h);
  for (uint32_t& word : h) word = sha256::bytes_reversed(word);
  digests[2 * i] = {h[0], h[1], h[2], h[3]};
  digests[2 * i + 1] = {h[4], h[5], h[6], h[7]};
}

// Room for digests on the GPU, and for how many.
struct Room {
  Buffer buffer;
  int64_t pieces;
};

// Powers of two: so few sizes that the pool of freed workspace has one for the next model too.
Room room_for(int64_t pieces) {
  constexpr int64_t least = 8192;  // 256 KB
  for (auto room = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(pieces)));; room /= 2) {
    try {
      return {workspace(static_cast<size_t>(room) * digest_bytes), room};
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::resource || room <= least) throw;
    }
  }
}

}  // namespace

void hash_pieces(const Context& context, std::span<const HashedPart> parts, int64_t pieces,
                 std::byte* digests, int64_t most_at_once) {
  Buffer table = workspace(parts.size_bytes());
  device::copy_bytes(table.data(), device::Place::gpu, parts.data(), device::Place::host,
                     parts.size_bytes());
  Room room = room_for(std::min(pieces, most_at_once));
  for (int64_t first = 0; first < pieces; first += room.pieces) {
    const int64_t count = std::min(room.pieces, pieces - first);
    launch(context, hash_by_thread, {blocks_for(count, threads), dim3(threads)},
           table.as<HashedPart>(), static_cast<int>(parts.size()), first, count,
           room.buffer.as<uint4>());
    device::copy_bytes(digests + first * static_cast<int64_t>(digest_bytes), device::Place::host,
                       room.buffer.data(), device::Place::gpu,
                       static_cast<size_t>(count) * digest_bytes);
  }
}

}  // namespace qsweep::kernels::cuda
