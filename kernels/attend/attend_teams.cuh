// Decode attention of the usual head sizes. Four lanes make a team that holds one position at a
// time, a quarter of its elements each, and keeps its own online softmax: nobody waits for others
// until the end. A warp brings the rows of its eight teams into a ring in shared memory ahead of
// them, before the kernel in front has ended where the cache allows it. The teams of a warp are
// joined in registers, the warps of a block in shared memory, the blocks of a head's cluster in
// that of the first.
//
// Scores are kept times log2 e, so that exponentials are powers of two within 2 ulp, 4 2^-24.
// Error against attention.hpp, in 2^-24: a score is D / 16 + 8 times a off; an exponent two more
// for what it is less the largest, and each of three joins again two, of |s| <= a. A weight is 4
// off by its power, each join adds 5 by its factor, 19 in all. Errors of weights count twice, as y
// divides by their sum: 38, and 4 for the product and the quotient, of the 48 there.
#pragma once

#include "kernels/attend/attend_heads.cuh"

namespace qsweep::kernels::cuda {

constexpr float lowest_score = -0x1p126f;  // of no position: a power of two of it less another is 0

// Brings a warp's tiles into its ring, one after another.
template <class Memory>
struct TileCopies {
  using Row = typename Memory::Row;
  const unsigned char *keys, *values;  // the lane's first 16 bytes of the next tile
  uint32_t ring;                       // where they go in its first slot
  int lane;

  __device__ TileCopies(const TeamArgs& args, const TeamPlace<Memory>& place, const Memory& memory)
      : ring(shared_address(memory.ring[place.warp].tile) + place.lane * 16), lane(place.lane) {
    const int64_t at = place.byte_of(args, place.first) + place.lane * 16;
    keys = args.keys + at;
    values = args.values + at;
  }

  // Rows in front of the tile's row `left`: that one and later ones are not in the cache.
  __device__ void next(uint32_t slot, int left) {
    constexpr int chunks = Row::bytes / 16;  // of a row
    static_assert(warp_teams * chunks % warp_size == 0);
    // The compiler would else make each address from the first.
    take_as_they_are(keys, values, ring);
    const uint32_t tile = ring + slot * (2 * Row::half_tile);
#pragma unroll
    for (int k = 0; k < warp_teams * chunks / warp_size; ++k) {
      const int i = lane + k * warp_size, from = k * (warp_size * 16);
      if (i < left * chunks) {
        const uint32_t to = tile + from + i / chunks * (Row::stride - Row::bytes);
        copy_async(to, keys + from);
        copy_async(to + Row::half_tile, values + from);
      }
    }
    end_group();
    keys += TeamPlace<Memory>::step * Row::bytes;
    values += TeamPlace<Memory>::step * Row::bytes;
  }
};

template <class T, int Pieces>
struct Team {
  float q[Pieces][8];
  float sums[Pieces][8] = {};
  Softmax softmax{lowest_score, 0};
  const int lane = static_cast<int>(threadIdx.x % team_lanes);

  __device__ explicit Team(const float* head) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) load_vector(head + (p * team_lanes + lane) * 8, q[p]);
  }
  // q . key log2 e / sqrt(D) in all lanes of the team; every lane of the warp takes part.
  __device__ float score(const T* key, float scale) const {
    float chain[4] = {};  // a single one would wait for itself at each element
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      float k[8];
      load_vector(key + (p * team_lanes + lane) * 8, k);
#pragma unroll
      for (int i = 0; i < 8; ++i) chain[i % 4] += q[p][i] * k[i];
    }
    float sum = (chain[0] + chain[1]) + (chain[2] + chain[3]);
#pragma unroll
    for (int step = 1; step < team_lanes; step *= 2) {
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
    }
    return sum * scale;
  }
  __device__ void add(float score, const T* value) {
    const float largest = fmaxf(softmax.largest, score);
    const float factor = exp2_approximate(softmax.largest - largest);
    const float weight = exp2_approximate(score - largest);
    softmax = {largest, softmax.sum * factor + weight};
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      float v[8];
      load_vector(value + (p * team_lanes + lane) * 8, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[p][i] = sums[p][i] * factor + weight * v[i];
    }
  }

  // All teams of the warp together -> line, *joined. At each step a lane gives one half of its
  // columns away for the partner's share of the other, so that each ends with the column of its
  // team's number in each piece.
  __device__ void join_warp(float* line, Softmax* joined) {
    constexpr uint32_t all = 0xFFFFFFFFu;
    const int in_warp = static_cast<int>(threadIdx.x % warp_size);
    float largest = softmax.largest;
#pragma unroll
    for (int step = team_lanes; step < warp_size; step *= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(all, largest, step));
    }
    const float factor = exp2_approximate(softmax.largest - largest);
    float sum = softmax.sum * factor;
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[p][i] *= factor;
    }
#pragma unroll
    for (int kept = warp_teams / 2; kept > 0; kept /= 2) {
      const int step = kept * team_lanes;
      const bool upper = (in_warp & step) != 0;
      sum += __shfl_xor_sync(all, sum, step);
#pragma unroll
      for (int p = 0; p < Pieces; ++p) {
#pragma unroll
        for (int i = 0; i < kept; ++i) {
          const float given = upper ? sums[p][i] : sums[p][i + kept];
          const float mine = upper ? sums[p][i + kept] : sums[p][i];
          sums[p][i] = mine + __shfl_xor_sync(all, given, step);
        }
      }
    }
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      line[p * team_columns + lane * 8 + in_warp / team_lanes] = sums[p][0];
    }
    if (in_warp == 0) *joined = {largest, sum};
  }
};

// What each of several softmaxes counts for beside the largest of them.
template <int Count>
struct Shares {
  float factor[Count], sum = 0;
  float largest = lowest_score;

  __device__ explicit Shares(const Softmax (&parts)[Count]) {
#pragma unroll
    for (int k = 0; k < Count; ++k) largest = fmaxf(largest, parts[k].largest);
#pragma unroll
    for (int k = 0; k < Count; ++k) {
      factor[k] = exp2_approximate(parts[k].largest - largest);
      sum += factor[k] * parts[k].sum;
    }
  }
};

// The block's warps, of which lines and softmaxes lie in shared memory -> the first block of the
// cluster, four columns a thread.
template <class Memory>
__device__ void join_warps(const Memory& memory, int rank) {
  constexpr int quads = Memory::Row::elements / 4;
  static_assert(quads <= Memory::warps * warp_size);
  const int quad = static_cast<int>(threadIdx.x);
  if (quad >= quads) return;
  const Shares<Memory::warps> shares(memory.warp);
  float weighted[4] = {};
#pragma unroll
  for (int k = 0; k < Memory::warps; ++k) {
    float line[4];
    load_vector(memory.ring[k].line + quad * 4, line);
#pragma unroll
    for (int i = 0; i < 4; ++i) weighted[i] += shares.factor[k] * line[i];
  }
  const uint32_t results = address_in_first_block(&memory.results);
  send_to_block(address_in_first_block(&memory.weighted[rank][quad * 4]), weighted, results);
  const float softmax[2] = {shares.largest, shares.sum};
  if (quad == 0) send_to_block(address_in_first_block(&memory.blocks[rank]), softmax, results);
}

// What all blocks left -> y.
template <class Memory>
__device__ void join_blocks(device::Compute compute, const Memory& memory, float* y) {
  constexpr int threads = Memory::warps * warp_size, elements = Memory::Row::elements;
  wait_for_blocks(shared_address(&memory.results));
  const Shares<attend_blocks> shares(memory.blocks);
#pragma unroll
  for (int first = 0; first < elements; first += threads) {
    const int i = first + static_cast<int>(threadIdx.x);
    if (i >= elements) return;
    float weighted = 0;
#pragma unroll
    for (int k = 0; k < attend_blocks; ++k) weighted += shares.factor[k] * memory.weighted[k][i];
    y[i] = stored(compute, weighted / shares.sum);
  }
}

// The barrier of the first block stands before any block of the cluster has waited for it.
template <class Memory>
__device__ void start_results(Memory& memory, int rank) {
  if (rank == 0 && threadIdx.x == 0) {
    const uint32_t results = shared_address(&memory.results);
    start_barrier(results, 1);
    publish_barriers();
  }
  __syncwarp();
  cluster_arrive_relaxed();
}

// How much will come. Some of it may have come by then: the barrier waits for this arrival, too.
template <class Memory>
__device__ void expect_results(Memory& memory, int rank) {
  if (rank != 0 || threadIdx.x != 0) return;
  arrive_announcing(shared_address(&memory.results), attend_blocks * Memory::result_bytes);
}

// The warp's tiles, joined: its line and softmax into shared memory.
template <class T, int Pieces, class Memory>
__device__ void attend_tiles(const TeamPlace<Memory>& place, TileCopies<Memory>& copies,
                             Memory& memory) {
  using Row = typename Memory::Row;
  constexpr int step = TeamPlace<Memory>::step, under_way = Memory::tiles - 1;
  constexpr float log2_e = 1.44269504f;
  const float scale = log2_e / sqrtf(static_cast<float>(Row::elements));
  const int row = place.lane / team_lanes;
  Team<T, Pieces> team(memory.q);
  auto& ring = memory.ring[place.warp];
  uint32_t slot = 0;
  // The new row counted from the tile's first. Rows behind it read its key, as every lane takes
  // part in a score.
  for (int left = place.last - place.first; left >= 0; left -= step) {
    wait_for_groups<under_way - 1>();
    __syncwarp();  // all lanes' copies are there, and the slot before is done with
    copies.next((slot + under_way) % Memory::tiles, left - under_way * step);
    const auto* key = reinterpret_cast<const T*>(ring.tile[slot] + row * Row::stride);
    const T* value = key + Row::half_tile / sizeof(T);
    const float score = team.score(row < left ? key : memory.key, scale);
    if (row <= left) team.add(score, row < left ? value : memory.value);
    slot = (slot + 1) % Memory::tiles;
  }
  __syncwarp();
  team.join_warp(ring.line, &memory.warp[place.warp]);
}

template <class T, int Pieces, int Threads>
__global__ void __cluster_dims__(1, attend_blocks, 1) __launch_bounds__(Threads)
    decode_teams(const __grid_constant__ TeamArgs args) {
  using Memory = TeamMemory<T, Pieces, Threads>;
  auto& memory = *shared_memory<Memory>();
  if (!args.settled) wait_for_previous();
  TeamPlace<Memory> place(args);
  let_next_start();
  start_results(memory, place.rank);
  TileCopies<Memory> copies(args, place, memory);
  place.last = min(place.last, args.capacity - 1);
#pragma unroll
  for (int k = 0; k < Memory::tiles - 1; ++k) {
    copies.next(k, place.last - place.first - k * TeamPlace<Memory>::step);
  }
  const NewHeads<T, Memory> heads(args, place, memory);
  wait_for_previous();  // at once where that is done
  heads.make_ready();
  __syncthreads();
  expect_results(memory, place.rank);
  attend_tiles<T, Pieces>(place, copies, memory);
  cluster_wait();  // the first block has begun, so that it can be written to
  __syncthreads();
  join_warps(memory, place.rank);
  // Others may go: nobody writes to their memory.
  if (place.rank == 0) {
    join_blocks(args.compute, memory, args.y + place.query_head(args) * Memory::Row::elements);
  }
}

}  // namespace qsweep::kernels::cuda
