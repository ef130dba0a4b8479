// Decode attention of the usual head sizes. Four lanes make a team that holds one position at a
// time, a quarter of its elements each, and keeps its own online softmax: nobody waits for others
// until the end. A warp brings the rows of its eight teams into a ring in shared memory ahead of
// them, before the kernel in front has ended where the cache allows it. A block's teams are joined
// in shared memory, the blocks of a head's cluster in that of the first.
#pragma once

#include "kernels/attend/attend_kernel.cuh"

namespace qsweep::kernels::cuda {

constexpr int team_lanes = 4, team_columns = 8 * team_lanes;
constexpr int warp_teams = warp_size / team_lanes;
constexpr int attend_blocks = 8;  // of a cluster: the most that every Hopper schedules

// A row of the ring: neighbouring rows start 64 bytes apart, modulo all banks.
template <class T, int Pieces>
struct RingRow {
  static constexpr int elements = Pieces * team_columns;
  static constexpr int bytes = elements * static_cast<int>(sizeof(T));
  static constexpr int stride = bytes + (bytes % 128 == 0 ? 64 : 0);
  static constexpr int tile_bytes = 2 * warp_teams * stride;  // keys, values of a warp's teams
};

// Positions are taken in tiles of a block's teams; so many are under way.
template <class T, int Pieces>
constexpr int ring_tiles() {
  return RingRow<T, Pieces>::stride <= 320 ? 4 : 2;
}

// Of a block; the blocks of the cluster leave their results in that of the first.
template <class T, int Pieces, int Threads>
struct TeamMemory {
  using Row = RingRow<T, Pieces>;
  static constexpr int warps = Threads / warp_size, teams = warps * warp_teams;
  alignas(16) float q[Row::elements];
  alignas(16) T key[Row::elements];  // of the new row
  alignas(16) T value[Row::elements];
  Softmax blocks[attend_blocks];
  float weighted[attend_blocks][Row::elements];
  Softmax team[teams];
  float factor[warps][teams];
  union {
    alignas(16) unsigned char ring[warps][ring_tiles<T, Pieces>()][Row::tile_bytes];
    float line[teams][Row::elements];  // when the ring is done with
  };
};

// Brings a warp's rows of a tile.
template <class T, int Pieces>
__device__ void copy_tile(unsigned char* tile, const T* keys, const T* values, int64_t first,
                          int64_t end, int64_t last) {
  using Row = RingRow<T, Pieces>;
  constexpr int chunks = Row::bytes / 16;  // of a row
  for (int i = static_cast<int>(threadIdx.x) % warp_size; i < warp_teams * chunks; i += warp_size) {
    const int row = i / chunks, at = i % chunks * 16;
    const int64_t position = first + row, from = position * Row::bytes + at;
    if (position >= end || position == last) continue;
    const uint32_t to = shared_address(tile) + row * Row::stride + at;
    copy_async(to, reinterpret_cast<const unsigned char*>(keys) + from);
    copy_async(to + warp_teams * Row::stride,
               reinterpret_cast<const unsigned char*>(values) + from);
  }
}

template <class T, int Pieces>
struct Team {
  float q[Pieces][8];
  float sums[Pieces][8] = {};
  Softmax softmax;
  const int lane = static_cast<int>(threadIdx.x) % team_lanes;

  __device__ explicit Team(const float* head) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) load_vector(head + (p * team_lanes + lane) * 8, q[p]);
  }
  // q . key in all lanes of the team; every lane of the warp takes part.
  __device__ float score(const T* key) const {
    float sum = 0;
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      float k[8];
      load_vector(key + (p * team_lanes + lane) * 8, k);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum += q[p][i] * k[i];
    }
    for (int step = 1; step < team_lanes; step *= 2) {
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
    }
    return sum;
  }
  __device__ void add(float score, const T* value) {
    const float largest = fmaxf(softmax.largest, score);
    const float factor = expf(softmax.largest - largest), weight = expf(score - largest);
    softmax = {largest, softmax.sum * factor + weight};
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      float v[8];
      load_vector(value + (p * team_lanes + lane) * 8, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[p][i] = sums[p][i] * factor + weight * v[i];
    }
  }
  __device__ void leave(float* line) const {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        *reinterpret_cast<float4*>(line + (p * team_lanes + lane) * 8 + i) =
            float4{sums[p][i], sums[p][i + 1], sums[p][i + 2], sums[p][i + 3]};
      }
    }
  }
};

// What a softmax weighs beside the one of all; 0 where it has seen nothing.
__device__ inline float share_of(const Softmax& part, float largest) {
  return part.largest == -INFINITY ? 0.0f : expf(part.largest - largest);
}

// The block's teams, of which lines and softmaxes lie in shared memory -> the first block of the
// cluster.
template <class Memory>
__device__ void join_teams(Memory& memory) {
  static_assert(Memory::teams == warp_size, "a lane for each team");
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = threadIdx.x / warp_size;
  const Softmax mine = memory.team[lane];
  const float largest = over_warp(mine.largest, Larger{}), factor = share_of(mine, largest);
  const float sum = over_warp(mine.sum * factor, Add{});
  memory.factor[warp][lane] = factor;
  __syncwarp();
  const uint32_t rank = cluster_rank();
  for (int i = static_cast<int>(threadIdx.x); i < Memory::Row::elements;
       i += Memory::warps * warp_size) {
    float weighted = 0;
#pragma unroll 8
    for (int k = 0; k < Memory::teams; ++k) weighted += memory.factor[warp][k] * memory.line[k][i];
    store_to_block(&memory.weighted[rank][i], 0, weighted);
  }
  if (threadIdx.x == 0) {
    store_to_block(&memory.blocks[rank].largest, 0, largest);
    store_to_block(&memory.blocks[rank].sum, 0, sum);
  }
}

// What all blocks left -> y.
template <class Memory>
__device__ void join_blocks(device::Compute compute, const Memory& memory, float* y) {
  float factor[attend_blocks], largest = -INFINITY, sum = 0;
#pragma unroll
  for (int k = 0; k < attend_blocks; ++k) largest = fmaxf(largest, memory.blocks[k].largest);
#pragma unroll
  for (int k = 0; k < attend_blocks; ++k) {
    factor[k] = share_of(memory.blocks[k], largest);
    sum += factor[k] * memory.blocks[k].sum;
  }
  for (int i = static_cast<int>(threadIdx.x); i < Memory::Row::elements;
       i += Memory::warps * warp_size) {
    float weighted = 0;
#pragma unroll
    for (int k = 0; k < attend_blocks; ++k) weighted += factor[k] * memory.weighted[k][i];
    y[i] = stored(compute, weighted / sum);
  }
}

// This block's stretch: its teams' lines and softmaxes into shared memory.
template <class T, int Pieces, int Threads>
__device__ void attend_by_teams(device::Compute compute, const AttendArgs& args,
                                TeamMemory<T, Pieces, Threads>& memory) {
  constexpr int under_way = ring_tiles<T, Pieces>() - 1;
  using Row = RingRow<T, Pieces>;
  using Memory = TeamMemory<T, Pieces, Threads>;
  if (!args.settled) wait_for_previous();
  const Stretch<T, Threads> part(args, blockIdx.x, blockIdx.y, attend_blocks);
  const T* keys = part.head_of(args.heads.keys);
  const T* values = part.head_of(args.heads.values);
  const int lane = static_cast<int>(threadIdx.x) % warp_size, warp = threadIdx.x / warp_size;
  int64_t first = part.begin + warp * warp_teams;  // of the warp's positions in this tile
  const auto copy = [&](int slot, int64_t from) {
    copy_tile<T, Pieces>(memory.ring[warp][slot], keys, values, from, part.end, part.last);
    end_group();
  };
  for (int k = 0; k < under_way; ++k) copy(k, first + k * Memory::teams);
  if (args.settled) wait_for_previous();
  part.make_ready(compute, memory.q, memory.key, memory.value);
  __syncthreads();
  Team<T, Pieces> team(memory.q);
  const float scale = 1.0f / sqrtf(static_cast<float>(part.dim));
  for (int slot = 0; first < part.end; first += Memory::teams) {
    wait_for_groups<under_way - 1>();
    __syncwarp();
    const int64_t position = first + lane / team_lanes;
    const unsigned char* row = memory.ring[warp][slot] + lane / team_lanes * Row::stride;
    const bool fresh = position == part.last;
    const float score = team.score(fresh ? memory.key : reinterpret_cast<const T*>(row)) * scale;
    const unsigned char* value = row + warp_teams * Row::stride;
    if (position < part.end) {
      team.add(score, fresh ? memory.value : reinterpret_cast<const T*>(value));
    }
    __syncwarp();
    copy(slot == 0 ? under_way : slot - 1, first + under_way * Memory::teams);
    slot = slot == under_way ? 0 : slot + 1;
  }
  __syncthreads();
  team.leave(memory.line[warp * warp_teams + lane / team_lanes]);
  if (lane % team_lanes == 0) memory.team[warp * warp_teams + lane / team_lanes] = team.softmax;
  __syncthreads();
}

template <class T, int Pieces, int Threads>
__global__ void __launch_bounds__(Threads)
    decode_teams(device::Compute compute, const __grid_constant__ AttendArgs args) {
  auto& memory = *shared_memory<TeamMemory<T, Pieces, Threads>>();
  cluster_arrive();
  let_next_start();
  attend_by_teams<T, Pieces, Threads>(compute, args, memory);
  cluster_wait();  // the first block has begun, so that it can be written to
  join_teams(memory);
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 0) {
    join_blocks(compute, memory, args.y + blockIdx.x * args.heads.keys.head_dim);
  }
}

}  // namespace qsweep::kernels::cuda
