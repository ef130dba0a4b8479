// The kernel behind linear/tiles: see linear_cuda.cuh for what it computes and how exactly, and
// tiles.cuh for how its blocks share the work.
//
// A lane (g = lane / 4, t = lane % 4) holds codes of rows g and g + 8 of its warp's sixteen. As in
// linear/stream W is the left operand of the products, and the input the right one, which lies
// ready in memory just as the tensor cores take it.
#pragma once

#include "kernels/cuda/warpgroup.cuh"
#include "kernels/linear/tiles.cuh"
#include "kernels/linear/tiles_codes.cuh"

namespace qsweep::kernels::cuda {

// A stage: the input, the codes, their scales, their zero points.
template <int Words>
struct TileStage {
  using Shape = TileShape<Words>;
  uint32_t input, codes, scales, zeros;
  __device__ TileStage(const Tiles& p, uint32_t stage)
      : input(stage),
        codes(stage + p.slabs_a_step * p.input_bytes),
        scales(codes + Shape::code_bytes),
        zeros(scales + Shape::scale_bytes) {}
};

// A warp that fills stages: with codes and scales ahead of everything, with the input once it is
// there.
template <class F, int Words>
struct TileFeeder {
  using Shape = TileShape<Words>;
  static constexpr int vectors_a_line = Shape::line_bytes / 16;
  const Tiles& p;
  const Ring& ring;
  const uint8_t* x;  // of this part
  const int lane = static_cast<int>(threadIdx.x) % warp_size;
  const int feeder = (static_cast<int>(threadIdx.x) - tile_multipliers) / warp_size;

  // One step of a tile.
  struct Step {
    int segment, tile, step, slabs, rows;
    int64_t first;  // row of the segment
    __device__ Step(const Tiles& p, uint32_t at)
        : tile(static_cast<int>(at / static_cast<uint32_t>(p.steps))),
          step(static_cast<int>(at % static_cast<uint32_t>(p.steps))) {
      segment = p.segment_of_tile(tile);
      slabs = min(p.slabs_a_step, p.slabs - step * p.slabs_a_step);
      first = int64_t{tile - p.first_tile[segment]} * tile_rows;
      rows = static_cast<int>(min(int64_t{tile_rows}, p.segments[segment].rows - first));
    }
  };

  // Neighbouring lanes take neighbouring vectors of a line.
  __device__ void copy_codes(const Step& s, uint32_t codes) const {
    constexpr int rows_at_once = warp_size / vectors_a_line;
    const int row = lane / vectors_a_line, vector = lane % vectors_a_line;
    const int64_t row_bytes = p.cols / 2;
    if (vector * 16 >= s.slabs * Shape::slab_bytes) return;
    const uint32_t to = codes + lane * 16;
    const uint8_t* from = p.segments[s.segment].w.codes + (s.first + row) * row_bytes +
                          s.step * Shape::line_bytes + vector * 16;
#pragma unroll 8
    for (int i = 0; i < tile_rows / rows_at_once; ++i) {
      if (row + i * rows_at_once < s.rows) {
        copy_async(to + i * warp_size * 16, from + i * rows_at_once * row_bytes);
      }
    }
  }

  // Each lane those of every thirty-second row. All are asked for before the first is waited for;
  // rows and slabs that are not there read as the last ones.
  __device__ void decode_scales(const Step& s, const TileStage<Words>& stage) const {
    constexpr int rows_a_lane = tile_rows / warp_size;
    const PackedView& w = p.segments[s.segment].w;
    const auto group_of = [&](int slab) {
      return static_cast<int>(
          static_cast<unsigned>(min(s.step * p.slabs_a_step + slab, p.slabs - 1)) /
          static_cast<unsigned>(p.slabs_a_group));
    };
    const auto row_of = [&](int i) {
      return static_cast<int>(s.first) + min(lane + i * warp_size, s.rows - 1);
    };
    w.scale.with_reader([&](auto reader) {
      float value[Shape::slabs_a_step][rows_a_lane];
#pragma unroll
      for (int slab = 0; slab < Shape::slabs_a_step; ++slab) {
#pragma unroll
        for (int i = 0; i < rows_a_lane; ++i) {
          value[slab][i] = reader(row_of(i) * p.scales_a_row + group_of(slab));
        }
      }
#pragma unroll
      for (int slab = 0; slab < Shape::slabs_a_step; ++slab) {
#pragma unroll
        for (int i = 0; i < rows_a_lane; ++i) {
          store_shared(stage.scales + (slab * tile_rows + lane + i * warp_size) * 4,
                       __float_as_uint(value[slab][i]));
        }
      }
    });
    if constexpr (F::integer) {
      for (int slab = 0; slab < Shape::slabs_a_step && w.asymmetric; ++slab) {
        for (int i = 0; i < rows_a_lane; ++i) {
          store_shared(stage.zeros + (slab * tile_rows + lane + i * warp_size) * 4,
                       __float_as_uint(w.zeros(row_of(i), group_of(slab))));
        }
      }
    }
  }

  // Every lane arrives twice: for its codes and for its scales.
  __device__ void fill_weights(uint32_t at_step, const RingPlace& at) const {
    const TileStage<Words> stage(p, ring.stage(at));
    const Step step(p, at_step);
    copy_codes(step, stage.codes);
    arrive_after_copies(ring.full(at));
    decode_scales(step, stage);
    arrive(ring.full(at));
  }
  __device__ void fill_input(uint32_t at_step, const RingPlace& at) const {
    if (lane != 0) return;
    const Step s(p, at_step);
    const auto bytes = static_cast<uint32_t>(s.slabs * p.input_bytes);
    announce_bytes(ring.full(at), bytes);
    copy_bulk_kept(ring.stage(at), x + int64_t{s.step} * p.slabs_a_step * p.input_bytes, bytes,
                   ring.full(at));
    arrive(ring.full(at));
  }
  __device__ void run(uint32_t first, uint32_t end) const {
    const auto mine = [&](uint32_t step) {
      return static_cast<int>((step - first) % tile_feeders) == feeder;
    };
    const uint32_t ahead = min(end, first + static_cast<uint32_t>(ring.count));
    RingPlace weights, input;
    for (uint32_t step = first; step < ahead; ++step, weights.advance(1, ring.count)) {
      if (mine(step)) fill_weights(step, weights);
    }
    wait_for_previous();
    for (uint32_t step = first; step < ahead; ++step, input.advance(1, ring.count)) {
      if (mine(step)) fill_input(step, input);
    }
    for (uint32_t step = ahead; step < end; ++step, weights.advance(1, ring.count)) {
      if (!mine(step)) continue;
      ring.wait_until_empty(weights);
      fill_input(step, weights);
      fill_weights(step, weights);
    }
  }
};

template <class F, int Words, int Columns>
struct TileMultiplier {
  using Code = TileCodes<F>;
  using Shape = TileShape<Words>;

  const Tiles& p;
  const Ring& ring;
  const uint32_t* table;
  const bool asymmetric;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, g = lane / 4, t = lane % 4;
  const int first_row = static_cast<int>(threadIdx.x) / warp_size * 16 + g;  // of the tile

  __device__ TileMultiplier(const Tiles& tiles, const Ring& r, const uint32_t* code_table)
      : p(tiles),
        ring(r),
        table(code_table),
        asymmetric(F::integer && p.segments[0].w.asymmetric) {}

  // Left operands of a slab's products.
  __device__ void decode_slab(const TileStage<Words>& stage, int slab,
                              uint32_t (&a)[Shape::products][4]) const {
    uint32_t words[2][Words];
    typename Code::Zero zero[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = first_row + 8 * i;
      load_shared(
          stage.codes + row * Shape::line_bytes + slab * Shape::slab_bytes + t * (Words * 4),
          words[i]);
      const uint32_t at = stage.zeros + (slab * tile_rows + row) * 4;
      zero[i] = Code::zero(asymmetric, asymmetric ? __uint_as_float(load_shared(at)) : 0.0f);
    }
#pragma unroll
    for (int word = 0; word < Words; ++word) {
      const auto upper = Code::decode(words[0][word], asymmetric, zero[0], table);
      const auto lower = Code::decode(words[1][word], asymmetric, zero[1], table);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        uint32_t(&to)[4] = a[2 * word + step];
        to[0] = upper.value[step][0];
        to[1] = lower.value[step][0];
        to[2] = upper.value[step][1];
        to[3] = lower.value[step][1];
      }
    }
  }

  // Adds the products of slab `slab` of a stage.
  __device__ void multiply_slab(const TileStage<Words>& stage, int slab,
                                float (&sums)[Columns / 2]) const {
    uint32_t a[Shape::products][4];
    decode_slab(stage, slab, a);
    float mine[Columns / 2] = {}, scale[2];
    begin_products();
#pragma unroll
    for (int i = 0; i < Shape::products; ++i) {
      const uint32_t x = stage.input + slab * p.input_bytes + i * (Columns * 32);
      warpgroup_multiply<Columns>(mine, a[i], right_operand(x), i > 0);
    }
    end_products();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t at = stage.scales + (slab * tile_rows + first_row + 8 * i) * 4;
      scale[i] = __uint_as_float(load_shared(at));
    }
    wait_for_products();
#pragma unroll
    for (int i = 0; i < Columns / 2; ++i) sums[i] += mine[i] * scale[i % 4 / 2];
  }

  // -> out [Columns][tile_rows].
  __device__ void leave(const float (&sums)[Columns / 2], float* out) const {
#pragma unroll
    for (int i = 0; i < Columns / 2; ++i) {
      const int column = i / 4 * 8 + 2 * t + i % 2, row = first_row + i % 4 / 2 * 8;
      out[column * tile_rows + row] = sums[i];
    }
  }

  __device__ void run(int part, uint32_t first, uint32_t end) const {
    int tile = static_cast<int>(first / static_cast<uint32_t>(p.steps));
    int step = static_cast<int>(first % static_cast<uint32_t>(p.steps));
    RingPlace at;
    float sums[Columns / 2] = {};
    for (uint32_t line = first; line < end; ++line) {
      ring.wait_until_full(at);
      const TileStage<Words> stage(p, ring.stage(at));
      const int slabs = min(p.slabs_a_step, p.slabs - step * p.slabs_a_step);
      for (int slab = 0; slab < slabs; ++slab) multiply_slab(stage, slab, sums);
      arrive(ring.empty(at));
      at.advance(1, ring.count);
      if (++step < p.steps && line + 1 < end) continue;
      leave(sums, p.sums_of(part, static_cast<int>(blockIdx.x), tile));
      for (float& sum : sums) sum = 0;
      step = 0;
      ++tile;
    }
  }
};

// Grid: blocks x parts of the rows of x. Dynamic shared memory: barriers, the ring.
template <class F, int Words, int Columns>
__global__ void __launch_bounds__(tile_threads, 1) tiles_kernel(const __grid_constant__ Tiles p) {
  using Table = typename TileCodes<F>::Table;
  __shared__ uint32_t table[Table::entries > 0 ? Table::entries : 1];
  auto* memory = shared_memory<unsigned char>();
  const Ring ring{shared_address(memory), shared_address(memory + barriers_bytes(p.stages)),
                  p.stages, p.stage_bytes};
  if (threadIdx.x < warp_size) ring.start(2 * warp_size + 1, tile_multipliers);
  if constexpr (Table::entries > 0) {
    for (int i = threadIdx.x; i < Table::entries; i += tile_threads) {
      table[i] = Table::entry(static_cast<uint32_t>(i));
    }
  }
  let_next_start();
  __syncthreads();
  const uint32_t first = p.first_step(static_cast<int>(blockIdx.x));
  const uint32_t end = p.first_step(static_cast<int>(blockIdx.x) + 1);
  const int part = static_cast<int>(blockIdx.y);
  if (threadIdx.x >= tile_multipliers) {
    const uint8_t* x = p.x + int64_t{part} * p.slabs * p.input_bytes;
    TileFeeder<F, Words>{p, ring, x}.run(first, end);
  } else {
    TileMultiplier<F, Words, Columns>(p, ring, table).run(part, first, end);
  }
}

}  // namespace qsweep::kernels::cuda
