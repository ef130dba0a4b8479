// What a block of attend_teams.cuh works with, and the new row's heads made ready in it.
#pragma once

#include <cstddef>

#include "kernels/attend/attend_kernel.cuh"

namespace qsweep::kernels::cuda {

constexpr int team_lanes = 4, team_columns = 8 * team_lanes;
constexpr int warp_teams = warp_size / team_lanes;
constexpr int attend_blocks = 8;  // of a cluster: the most that every Hopper schedules

// AttendArgs as the teams take them. Blocks are (query head of its group, stretch, KV head), so
// that nothing is divided. The first 48 bytes are what the copies need: parameters begin 16 bytes
// into a line of the constant cache, which is 64 long and cold at each launch.
struct TeamArgs {
  const int32_t* position;       // [1] or null: then `first`
  unsigned char *keys, *values;  // [kv_heads, capacity, D]
  int first, capacity;
  int group, kv_heads;  // query heads of a KV head
  bool settled;
  device::Compute compute;
  const float* qkv;  // [(group + 2) kv_heads, D]
  const float *cos, *sin;
  const float *q_norm, *k_norm;
  float* y;  // [group kv_heads, D]
  float norm_eps;
};
static_assert(offsetof(TeamArgs, qkv) == 48 && sizeof(TeamArgs) <= 48 + 64);

// A row of the ring: neighbouring rows start 64 bytes apart, modulo all banks.
template <class T, int Pieces>
struct RingRow {
  static constexpr int elements = Pieces * team_columns;
  static constexpr int bytes = elements * static_cast<int>(sizeof(T));
  static constexpr int stride = bytes + (bytes % 128 == 0 ? 64 : 0);
  static constexpr int half_tile = warp_teams * stride;  // keys of a warp's teams, or values
};

// Positions are taken in tiles of a warp's teams; for so many a warp has room: a power of two.
template <class T, int Pieces>
constexpr int ring_tiles() {
  return RingRow<T, Pieces>::stride <= 320 ? 4 : 2;
}

// Of a block; the blocks of the cluster leave their results in that of the first.
template <class T, int Pieces, int Threads>
struct TeamMemory {
  using Row = RingRow<T, Pieces>;
  static constexpr int warps = Threads / warp_size, tiles = ring_tiles<T, Pieces>();
  static constexpr int result_bytes = Row::elements * 4 + static_cast<int>(sizeof(Softmax));
  alignas(16) float q[Row::elements];
  alignas(16) T key[Row::elements];  // of the new row
  alignas(16) T value[Row::elements];
  alignas(16) float weighted[attend_blocks][Row::elements];
  alignas(16) Softmax blocks[attend_blocks];
  alignas(16) Softmax warp[warps];
  alignas(8) uint64_t results;  // a barrier: what all blocks left is there
  union Ring {
    alignas(16) unsigned char tile[tiles][2 * Row::half_tile];
    float line[Row::elements];  // when the ring is done with
  } ring[warps];
};

// What a lane knows of its place. A warp has every so many tiles of the head's cache, so that where
// its first one lies does not depend on how many positions there are.
template <class Memory>
struct TeamPlace {
  using Row = typename Memory::Row;
  static constexpr int step = Memory::warps * attend_blocks * warp_teams;  // positions
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int warp = static_cast<int>(threadIdx.x / warp_size);
  const int rank = static_cast<int>(cluster_rank());
  const int member = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.z);
  const int first = (warp * attend_blocks + rank) * warp_teams;  // row of the warp's first tile
  int last;                                                      // the new one

  __device__ explicit TeamPlace(const TeamArgs& args) {
    last = args.position != nullptr ? *args.position : args.first;
  }
  __device__ int query_head(const TeamArgs& args) const { return kv_head * args.group + member; }
  // Of a position of this head in a cache.
  __device__ int64_t byte_of(const TeamArgs& args, int position) const {
    return int64_t{kv_head * args.capacity + position} * Row::bytes;
  }
  __device__ bool has_last() const {
    return static_cast<uint32_t>(last) / warp_teams % attend_blocks == static_cast<uint32_t>(rank);
  }
};

// Elements i and i + D / 2 of a head, i = lane, lane + 32, ..., in registers.
template <int Elements>
struct LanePairs {
  static constexpr int half = Elements / 2, count = (half + warp_size - 1) / warp_size;
  float first[count] = {}, second[count] = {};

  // Whether a lane has a `k`-th pair.
  __device__ static bool has(int lane, int k) { return lane + k * warp_size < half; }
  // From what a lane's own first elements are.
  __device__ void load(int lane, const float* from, const float* from_second) {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      if (!has(lane, k)) continue;
      first[k] = from[k * warp_size];
      second[k] = from_second[k * warp_size];
    }
  }
  __device__ void load(int lane, const float* from) {
    load(lane, from, from + half);
  }

  // As head_norm_factor(), in its order where D is a multiple of 64.
  __device__ void norm(device::Compute compute, const LanePairs& weights, float eps) {
    float squares = 0;
#pragma unroll
    for (int k = 0; k < count; ++k) squares += first[k] * first[k];
#pragma unroll
    for (int k = 0; k < count; ++k) squares += second[k] * second[k];
    const float mean = over_warp(squares, Add{}) / static_cast<float>(Elements);
    const float factor = 1.0f / sqrtf(mean + eps);
#pragma unroll
    for (int k = 0; k < count; ++k) {
      first[k] = stored(compute, weights.first[k] * stored(compute, first[k] * factor));
      second[k] = stored(compute, weights.second[k] * stored(compute, second[k] * factor));
    }
  }
};

// q, and where the block has it the new row, which the first query head of a group also puts into
// the cache. A warp each. What can be read or made out before the kernel in front has ended is
// done by the constructor.
template <class T, class Memory>
struct NewHeads {
  static constexpr int elements = Memory::Row::elements;
  using Pairs = LanePairs<elements>;
  const device::Compute compute;
  const float eps;
  const TeamPlace<Memory>& place;
  Memory& memory;
  const bool is_key, normed;
  Pairs norm;
  // Of the lane: its first element of the warp's head, of the table, and of the head in the cache
  // or null.
  const float *from, *cos, *sin;
  T* kept = nullptr;

  __device__ NewHeads(const TeamArgs& args, const TeamPlace<Memory>& p, Memory& m)
      : compute(args.compute),
        eps(args.norm_eps),
        place(p),
        memory(m),
        is_key(p.warp == 1),
        normed((is_key ? args.k_norm : args.q_norm) != nullptr),
        cos(args.cos + p.lane),
        sin(args.sin + p.lane) {
    const int lane = place.lane;
    if (normed && place.warp < 2) norm.load(lane, (is_key ? args.k_norm : args.q_norm) + lane);
    const int key = args.group * args.kv_heads + place.kv_head;
    const int head = place.warp == 0 ? place.query_head(args) : is_key ? key : key + args.kv_heads;
    from = args.qkv + head * elements + lane;
    unsigned char* cache = is_key ? args.keys : args.values;
    if (place.member == 0) {
      kept = reinterpret_cast<T*>(cache + place.byte_of(args, place.last)) + lane;
    }
    if (place.warp < 3) expect_reads(from);
    if (place.warp < 2) {
      expect_reads(cos);
      expect_reads(sin);
    }
  }

  __device__ void turn() const {
    const int lane = place.lane;
    Pairs head, table;  // all reads are under way before the first is waited for
    head.load(lane, from);
    table.load(lane, cos, sin);
    if (normed) head.norm(compute, norm, eps);
#pragma unroll
    for (int k = 0; k < Pairs::count; ++k) {
      if (!Pairs::has(lane, k)) break;
      const TurnedPair turned =
          turn_pair(compute, head.first[k], head.second[k], table.first[k], table.second[k]);
      const int at = k * warp_size, i = lane + at;
      if (!is_key) {
        memory.q[i] = turned.first;
        memory.q[i + Pairs::half] = turned.second;
        continue;
      }
      put(memory.key + i, turned.first);
      put(memory.key + i + Pairs::half, turned.second);
      if (kept == nullptr) continue;
      put(kept + at, turned.first);
      put(kept + at + Pairs::half, turned.second);
    }
  }
  __device__ void copy_value() const {
    float value[elements / warp_size];
#pragma unroll
    for (int k = 0; k < elements / warp_size; ++k) value[k] = from[k * warp_size];
#pragma unroll
    for (int k = 0; k < elements / warp_size; ++k) {
      put(memory.value + place.lane + k * warp_size, value[k]);
      if (kept != nullptr) put(kept + k * warp_size, value[k]);
    }
  }
  // Published by the block's next barrier.
  __device__ void make_ready() const {
    if (place.warp == 0 || (is_key && place.has_last())) turn();
    if (place.warp == 2 && place.has_last()) copy_value();
  }
};

}  // namespace qsweep::kernels::cuda
