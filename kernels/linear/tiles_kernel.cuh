// The kernel behind linear/tiles: see linear_cuda.cuh for what it computes and how exactly, and
// tiles.cuh for how its blocks share the work.
//
// A lane (g = lane / 4, t = lane % 4) holds codes of rows g and g + 8 of its warp's sixteen. As in
// linear/stream W is the left operand of the products, and the input the right one, which lies
// ready in memory just as the tensor cores take it.
#pragma once

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/warpgroup.cuh"
#include "kernels/linear/tiles_codes.cuh"
#include "kernels/linear/tiles_feed.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {

// What is done with sums of rows g and g + 8 of a warp's sixteen, of two neighbouring rows of x.
struct TileFinish {
  const Tiles& p;
  int64_t column[2];  // of y
  float bias[2];
  bool real[2];

  __device__ TileFinish(const Tiles& tiles, const TileRows& rows, int row) : p(tiles) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = row + 8 * half;
      const Segment& s = p.segments[rows.segment[half]];
      real[half] = rows.real(i);
      const int64_t of_segment = rows.row(i) - s.first;
      column[half] = p.gated() ? of_segment : s.column + of_segment;
      // A gate's halves may be one matrix, with one bias.
      bias[half] = s.bias != nullptr && real[half] ? s.bias[rows.row(i)] : 0.0f;
    }
  }
  // Sums of rows n and n + 1 of x: of both for row g, then for row g + 8.
  __device__ void operator()(int n, const float (&powers)[2], const float (&sums)[4]) const {
    constexpr auto bf16 = device::Compute::bf16;
    float before[2][2] = {};
    for (int k = 0; k < 2 && p.finish == Finish::residual && n + k < p.rows; ++k) {
      for (int half = 0; half < 2; ++half) {
        if (real[half]) before[k][half] = p.y[(n + k) * p.ldy + column[half]];
      }
    }
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      if (n + k >= p.rows) return;
      float* const y = p.y + (n + k) * p.ldy;
      float value[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        value[half] = stored(bf16, sums[2 * half + k] * powers[k] + bias[half]);
      }
      if (p.gated()) {
        if (real[0]) y[column[0]] = stored(bf16, stored(bf16, silu(value[0])) * value[1]);
        continue;
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (p.finish == Finish::residual) value[half] = stored(bf16, before[k][half] + value[half]);
        if (real[half]) y[column[half]] = value[half];
      }
    }
  }
};

template <class F, int Words, int Columns>
struct TileMultiplier {
  using Code = TileCodes<F>;
  using Shape = TileShape<Words>;
  using Team = TileTeam<Columns>;

  const Tiles& p;
  const Ring& ring;
  const TileShare& share;
  const int part;
  const bool asymmetric;
  const Code codes;
  const int group = static_cast<int>(threadIdx.x) / group_threads;
  const int of_group = static_cast<int>(threadIdx.x) % group_threads;
  const int lane = of_group % warp_size, g = lane / 4, t = lane % 4;
  const int first_row = of_group / warp_size * 16 + g;  // of the tile

  __device__ TileMultiplier(const Tiles& tiles, const Ring& r, const TileShare& s, int which)
      : p(tiles),
        ring(r),
        share(s),
        part(which),
        asymmetric(F::integer && p.segments[0].w.asymmetric),
        codes(asymmetric) {}

  // Left operands of two products: a word of each of the lane's rows.
  __device__ void decode(const uint32_t (&words)[2], const typename Code::Zero (&zero)[2],
                         uint32_t (&a)[2][4]) const {
    const auto upper = codes.decode(words[0], zero[0]), lower = codes.decode(words[1], zero[1]);
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      a[step][0] = upper.value[step][0];
      a[step][1] = lower.value[step][0];
      a[step][2] = upper.value[step][1];
      a[step][3] = lower.value[step][1];
    }
  }

  // What a lane takes of a slab.
  struct Slab {
    uint32_t words[2][Words], input;
    typename Code::Zero zero[2];
    float scale[2];
  };
  __device__ Slab load_slab(const TileStage<Words>& stage, int slab) const {
    Slab s;
    s.input = stage.input + slab * p.input_bytes;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = first_row + 8 * i, at = (slab * tile_rows + row) * 4;
      const auto column = static_cast<uint32_t>(slab * Shape::slab_bytes + t * (Words * 4));
      load_shared(stage.codes + row * step_bytes + (column ^ turned(row)), s.words[i]);
      s.scale[i] = __uint_as_float(load_shared(stage.scales + at));
      s.zero[i] = Code::zero(asymmetric ? __uint_as_float(load_shared(stage.zeros + at)) : 8.0f);
    }
    return s;
  }

  // Products of a slab, before its scales.
  struct Products {
    float sums[Columns / 2];
    float scale[2];
  };
  __device__ static void add(const Products& from, float (&sums)[Columns / 2]) {
#pragma unroll
    for (int i = 0; i < Columns / 2; ++i) sums[i] += from.sums[i] * from.scale[i % 4 / 2];
  }

  // Starts the products of a slab, half of them at a time where it is long; `settle` is called when
  // the first left operands are decoded and the products of the slab before must be out of the way.
  template <class Settle>
  __device__ void start_products(const Slab& s, Products& under_way, Settle settle) const {
    constexpr int at_once = 2;
#pragma unroll
    for (int first = 0; first < Words; first += at_once) {
      uint32_t a[at_once][2][4];
#pragma unroll
      for (int w = 0; w < at_once; ++w) {
        decode({s.words[0][first + w], s.words[1][first + w]}, s.zero, a[w]);
      }
#pragma unroll
      for (int i = 0; i < 2 * at_once; ++i) settle_registers(a[i / 2][i % 2]);
      if (first == 0) settle();
      settle_registers(under_way.sums);
      begin_products();
#pragma unroll
      for (int i = 0; i < 2 * at_once; ++i) {
        const int product = 2 * first + i;
        const uint32_t x = s.input + product * (Columns * 32);
        warpgroup_multiply<Columns>(under_way.sums, a[i / 2][i % 2], right_operand(x), product > 0);
      }
      end_products();
      // Short slabs, one half each, are not decoded beside products: the compiler would see no end
      // of them, and have each product wait.
      wait_for_products<(Words > at_once ? 1 : 0)>();
    }
    under_way.scale[0] = s.scale[0];
    under_way.scale[1] = s.scale[1];
  }

  // Adds the products of some slabs, side by side: each alone would wait for its product before.
  template <int Slabs>
  __device__ void multiply(const TileStage<Words>& stage, int first,
                           float (&sums)[Columns / 2]) const {
    Slab slabs[Slabs];
    Products products[Slabs];
#pragma unroll
    for (int i = 0; i < Slabs; ++i) {
      slabs[i] = load_slab(stage, first + i);
      products[i] = {{}, {slabs[i].scale[0], slabs[i].scale[1]}};
    }
#pragma unroll
    for (int w = 0; w < Words; ++w) {
#pragma unroll
      for (int i = 0; i < Slabs; ++i) multiply_word(slabs[i], w, products[i].sums);
    }
#pragma unroll
    for (int i = 0; i < Slabs; ++i) add(products[i], sums);
  }
  // Each load brings the right operands of two products of eight rows of x.
  __device__ void multiply_word(const Slab& s, int w, float (&sums)[Columns / 2]) const {
    float(&of_eights)[Columns / 8][4] = reinterpret_cast<float(&)[Columns / 8][4]>(sums);
    const auto multiply = [&](const uint32_t(&a)[4], int eight, uint32_t b0, uint32_t b1) {
      multiply_add_16x8x16<true>(of_eights[eight], a[0], a[1], a[2], a[3], b0, b1);
    };
    uint32_t a[2][4], b[4];
    decode({s.words[0][w], s.words[1][w]}, s.zero, a);
    const uint32_t x = s.input + w * (2 * Columns * 32) + lane * 16;
    load_matrices(x, b);
    if constexpr (Columns == 8) {
      multiply(a[0], 0, b[0], b[1]);
      multiply(a[1], 0, b[2], b[3]);
    } else {
      multiply(a[0], 0, b[0], b[1]);
      multiply(a[0], 1, b[2], b[3]);
      load_matrices(x + Columns * 32, b);
      multiply(a[1], 0, b[0], b[1]);
      multiply(a[1], 1, b[2], b[3]);
    }
  }

  // The first of the two rows of x that a lane has of the `eight`-th eight.
  __device__ int row_of(int eight) const {
    return part * Columns + eight * 8 + 2 * t;
  }
  __device__ void load_powers(int eight, float (&powers)[2]) const {
#pragma unroll
    for (int k = 0; k < 2; ++k) powers[k] = p.powers[min(row_of(eight) + k, p.rows - 1)];
  }
  // All powers are asked for before the first result is written: behind it they would wait.
  __device__ void finish(int tile, const float (&sums)[Columns / 2]) const {
    float powers[Columns / 8][2];
#pragma unroll
    for (int eight = 0; eight < Columns / 8; ++eight) load_powers(eight, powers[eight]);
    const TileFinish then(p, TileRows(p, tile), first_row);
#pragma unroll
    for (int eight = 0; eight < Columns / 8; ++eight) {
      then(row_of(eight), powers[eight],
           {sums[4 * eight], sums[4 * eight + 1], sums[4 * eight + 2], sums[4 * eight + 3]});
    }
  }

  // Where a thread leaves its four sums of eight rows of x in shared memory.
  __device__ uint32_t place(uint32_t begin, int eight) const {
    return begin + static_cast<uint32_t>(eight * group_threads + of_group) * 16;
  }
  __device__ void leave(uint32_t to, const float (&sums)[Columns / 2], int eight) const {
    uint32_t bits[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) bits[i] = __float_as_uint(sums[4 * eight + i]);
    store_shared(to, bits);
  }
  // The first group gets the sums of both.
  __device__ void join_groups(float (&sums)[Columns / 2]) const {
    const uint32_t begin = ring.stages + ring.count * ring.bytes;
    sync_threads(Team::multipliers);  // those of the round before were read
#pragma unroll
    for (int eight = 0; eight < Columns / 8; ++eight) {
      if (group == 1) leave(place(begin, eight), sums, eight);
    }
    sync_threads(Team::multipliers);
#pragma unroll
    for (int eight = 0; eight < Columns / 8; ++eight) {
      uint32_t bits[4];
      load_shared(place(begin, eight), bits);
#pragma unroll
      for (int i = 0; i < 4; ++i) sums[4 * eight + i] += __uint_as_float(bits[i]);
    }
  }
  // The sums of all blocks of the cluster, in their order: each block those of every so many eights
  // of rows of x. They meet in the ring, which has nothing more to hold.
  __device__ void join_blocks() const {
    const TileFinish then(p, TileRows(p, share.tile(0)), first_row);
    for (int eight = share.split; eight < Columns / 8; eight += p.splits) {
      float sums[4] = {}, powers[2];
      load_powers(eight, powers);
      for (int split = 0; split < p.splits; ++split) {
        float other[4];
        load_from_block(place(ring.stages, eight), static_cast<uint32_t>(split), other);
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[i] += other[i];
      }
      then(row_of(eight), powers, sums);
    }
  }

  __device__ int slabs_of(int step) const {
    return min(p.slabs_a_step, p.slabs - step * p.slabs_a_step);
  }

  // All steps of the round'th tile; `line` counts those of all tiles.
  __device__ void sum_by_warps(int round, int& line, RingPlace& at,
                               float (&sums)[Columns / 2]) const {
    for (; line < (round + 1) * share.steps; line += Team::groups) {
      ring.wait_until_full(at);
      const TileStage<Words> stage(p, ring.stage(at));
      const int slabs = slabs_of(share.first_step + line - round * share.steps);
      int slab = 0;
      for (; slab + 1 < slabs; slab += 2) multiply<2>(stage, slab, sums);
      if (slab < slabs) multiply<1>(stage, slab, sums);
      arrive(ring.empty(at));
      at.advance(Team::groups, ring.count);
    }
    join_groups(sums);
  }
  // A stage is empty once the products of the next one are to begin.
  __device__ void sum_by_warpgroups(RingPlace& at, float (&sums)[Columns / 2]) const {
    Products under_way;
    RingPlace before = at;
    for (int step = share.first_step; step < share.end_step(); ++step) {
      ring.wait_until_full(at);
      const TileStage<Words> stage(p, ring.stage(at));
      const int slabs = slabs_of(step);
#pragma unroll
      for (int slab = 0; slab < Shape::slabs_a_step; ++slab) {
        if (slab >= slabs) break;
        start_products(load_slab(stage, slab), under_way, [&] {
          if (step == share.first_step && slab == 0) return;
          wait_for_products();
          settle_registers(under_way.sums);
          add(under_way, sums);
          if (slab == 0) arrive(ring.empty(before));
        });
      }
      before = at;
      at.advance(1, ring.count);
    }
    wait_for_products();
    settle_registers(under_way.sums);
    add(under_way, sums);
    arrive(ring.empty(before));
  }

  __device__ void run() const {
    RingPlace at;
    at.advance(group, ring.count);
    int line = group;
    for (int round = 0; round < share.rounds; ++round) {
      float sums[Columns / 2] = {};
      if constexpr (Team::warpgroups) {
        sum_by_warpgroups(at, sums);
      } else {
        sum_by_warps(round, line, at, sums);
      }
      if (group == 1) continue;
      if (p.splits == 1) finish(share.tile(round), sums);
      if (p.splits > 1) leave_in_ring(sums);
    }
  }
  __device__ void leave_in_ring(const float (&sums)[Columns / 2]) const {
    sync_threads(group_threads);  // those of all warps are summed
#pragma unroll
    for (int eight = 0; eight < Columns / 8; ++eight) {
      leave(place(ring.stages, eight), sums, eight);
    }
  }
};

// Grid: blocks that take tiles x splits x parts of the rows of x. Dynamic shared memory: barriers,
// the ring, the sums of the second group.
template <class F, int Words, int Columns>
__global__ void __launch_bounds__(TileTeam<Columns>::threads, 1)
    tiles_kernel(const __grid_constant__ Tiles p) {
  using Team = TileTeam<Columns>;
  auto* memory = shared_memory<unsigned char>();
  const Ring ring{shared_address(memory), shared_address(memory + barriers_bytes(p.stages)),
                  p.stages, p.stage_bytes};
  if (threadIdx.x < warp_size) ring.start(2 * warp_size + 1, group_threads);
  let_next_start();
  __syncthreads();
  const TileShare share(p);
  const int part = static_cast<int>(blockIdx.z);
  const TileInput input{p, ring, share, p.x + int64_t{part} * p.slabs * p.input_bytes};
  const TileMultiplier<F, Words, Columns> multiplier(p, ring, share, part);
  if (threadIdx.x >= Team::multipliers) {
    const int feeder = (static_cast<int>(threadIdx.x) - Team::multipliers) / warp_size;
    TileFeeder<F, Words>{p, ring, share, input, feeder}.run();
  } else {
    wait_for_previous();
    if (threadIdx.x == 0) input.fill_ahead();
    multiplier.run();
  }
  if (p.splits == 1) return;
  cluster_arrive();
  cluster_wait();
  if (threadIdx.x < group_threads) multiplier.join_blocks();
  cluster_arrive();  // shared memory stays until it was read
  cluster_wait();
}

}  // namespace qsweep::kernels::cuda
