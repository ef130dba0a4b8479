// How the stages of linear/tiles are filled: with codes and scales ahead of everything, by warps of
// their own, with the input once it is there.
#pragma once

#include "kernels/linear/tiles.cuh"

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

// The input, by one thread at a time.
struct TileInput {
  const Tiles& p;
  const Ring& ring;
  const TileShare& share;
  const uint8_t* x;  // of this part

  __device__ int steps() const { return share.rounds * share.steps; }
  // Steps that the ring has room for at first.
  __device__ int ahead() const { return min(steps(), ring.count); }
  __device__ void fill(int at_step, const RingPlace& at) const {
    const int step = share.first_step + at_step % share.steps, first = step * p.slabs_a_step;
    const auto bytes = static_cast<uint32_t>(min(p.slabs_a_step, p.slabs - first) * p.input_bytes);
    announce_bytes(ring.full(at), bytes);
    copy_bulk_kept(ring.stage(at), x + int64_t{first} * p.input_bytes, bytes, ring.full(at));
    arrive(ring.full(at));
  }
  // What follows is given by those who fill the rest of a stage.
  __device__ void fill_ahead() const {
    RingPlace at;
    for (int step = 0; step < ahead(); ++step, at.advance(1, ring.count)) fill(step, at);
  }
};

template <class F, int Words>
struct TileFeeder {
  using Shape = TileShape<Words>;
  static constexpr int rows_a_lane = tile_rows / warp_size;
  // Of a step: each lane those of every thirty-second row.
  using Scales = float[Shape::slabs_a_step][rows_a_lane];
  const Tiles& p;
  const Ring& ring;
  const TileShare& share;
  const TileInput& input;
  const int feeder;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;

  // One step of a tile.
  struct Step {
    int step, slabs;
    TileRows rows;
    __device__ Step(const Tiles& p, const TileShare& share, int at)
        : step(share.first_step + at % share.steps),
          slabs(min(p.slabs_a_step, p.slabs - step * p.slabs_a_step)),
          rows(p, share.tile(at / share.steps)) {}
  };

  // Neighbouring lanes take neighbouring vectors of a row.
  __device__ void copy_codes(const Step& s, uint32_t codes) const {
    constexpr int vectors_a_row = step_bytes / 16, rows_at_once = warp_size / vectors_a_row;
    static_assert(rows_at_once == 4, "four copies for the sixteen rows of a warp");
    const int vector = lane % vectors_a_row, row = lane / vectors_a_row;
    const int64_t row_bytes = p.cols / 2;
    if (vector * 16 >= s.slabs * Shape::slab_bytes) return;
    const int64_t column = int64_t{s.step} * step_bytes + vector * 16;
    const uint32_t to = codes + (static_cast<uint32_t>(lane * 16) ^ turned(row));
    const uint8_t* from[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      from[half] = p.segments[s.rows.segment[half]].w.codes + column +
                   int64_t{s.rows.first[half] + row} * row_bytes;
    }
#pragma unroll 2
    for (int warp = 0; warp < tile_rows / 16; ++warp) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int of_warp = warp * s.rows.apart + (i & 1) * rows_at_once, half = i >> 1;
        if (s.rows.first[half] + row + of_warp >= s.rows.end[half]) continue;
        copy_async(to + (warp * 4 + i) * warp_size * 16, from[half] + of_warp * row_bytes);
      }
    }
  }

  // Rows and slabs that are not there read as others that are.
  __device__ int row_of(const Step& s, int i) const {
    return min(s.rows.row(lane + i * warp_size), s.rows.end_of(lane) - 1);
  }
  __device__ int group_of(const Step& s, int slab) const {
    return static_cast<int>(
        static_cast<unsigned>(min(s.step * p.slabs_a_step + slab, p.slabs - 1)) /
        static_cast<unsigned>(p.slabs_a_group));
  }
  __device__ void load_scales(const Step& s, Scales& value) const {
    p.segments[s.rows.segment_of(lane)].w.scale.with_reader([&](auto reader) {
#pragma unroll
      for (int slab = 0; slab < Shape::slabs_a_step; ++slab) {
#pragma unroll
        for (int i = 0; i < rows_a_lane; ++i) {
          value[slab][i] = reader(row_of(s, i) * p.scales_a_row + group_of(s, slab));
        }
      }
    });
  }
  __device__ void store_scales(const Step& s, const TileStage<Words>& stage,
                               const Scales& value) const {
    const PackedView& w = p.segments[s.rows.segment_of(lane)].w;
#pragma unroll
    for (int slab = 0; slab < Shape::slabs_a_step; ++slab) {
#pragma unroll
      for (int i = 0; i < rows_a_lane; ++i) {
        const int at = (slab * tile_rows + lane + i * warp_size) * 4;
        store_shared(stage.scales + at, __float_as_uint(value[slab][i]));
        if constexpr (F::integer) {
          if (!w.asymmetric) continue;
          store_shared(stage.zeros + at, __float_as_uint(w.zeros(row_of(s, i), group_of(s, slab))));
        }
      }
    }
  }

  // Every lane arrives twice: for its codes and for its scales.
  __device__ void fill_codes(int at_step, const RingPlace& at) const {
    copy_codes(Step(p, share, at_step), TileStage<Words>(p, ring.stage(at)).codes);
    arrive_after_copies(ring.full(at));
  }
  // `scales` are those of this step, and then of this feeder's next one: they are asked for here,
  // long before its stage is empty.
  __device__ void fill_scales(int at_step, const RingPlace& at, int end, Scales& scales) const {
    store_scales(Step(p, share, at_step), TileStage<Words>(p, ring.stage(at)), scales);
    arrive(ring.full(at));
    if (at_step + tile_feeders < end) load_scales(Step(p, share, at_step + tile_feeders), scales);
  }
  // use(step, place) for this feeder's steps of [begin, end).
  template <class Use>
  __device__ void for_steps(int begin, int end, RingPlace& at, Use use) const {
    for (int step = begin; step < end; step += tile_feeders) {
      use(step, at);
      at.advance(tile_feeders, ring.count);
    }
  }
  // All that the ring has room for is asked for before anything is waited for.
  __device__ void run() const {
    const int end = input.steps(), ahead = input.ahead();
    RingPlace codes, decoded;
    codes.advance(feeder, ring.count);
    decoded = codes;
    Scales scales;
    for_steps(feeder, ahead, codes, [&](int step, const RingPlace& at) { fill_codes(step, at); });
    if (feeder < end) load_scales(Step(p, share, feeder), scales);
    for_steps(feeder, ahead, decoded,
              [&](int step, const RingPlace& at) { fill_scales(step, at, end, scales); });
    wait_for_previous();
    const int filled = (max(ahead - feeder, 0) + tile_feeders - 1) / tile_feeders;
    for_steps(feeder + filled * tile_feeders, end, codes, [&](int step, const RingPlace& at) {
      ring.wait_until_empty(at);
      if (lane == 0) input.fill(step, at);
      fill_codes(step, at);
      fill_scales(step, at, end, scales);
    });
  }
};

}  // namespace qsweep::kernels::cuda
