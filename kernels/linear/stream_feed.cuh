// The warps of linear/stream that fill its ring. Weights do not depend on what is computed, so they
// go ahead as far as there is room.
#pragma once

#include "kernels/linear/stream.cuh"
#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

template <class F, int Words, bool Grouped>
struct Feeder {
  using Code = Codes<F>;
  static constexpr int slab_bytes = 4 * Words * 4;
  static constexpr int at_once = 12;  // scales a lane asks for together: each wait is a long one

  const Stream& p;
  const Ring& ring;
  const Share share;
  const int pieces, slabs;  // of a row, of a piece
  const bool asymmetric;
  const StageLayout layout;
  const int lane = static_cast<int>(threadIdx.x) % warp_size;

  __device__ Feeder(const Stream& stream, const Ring& r)
      : p(stream),
        ring(r),
        share(p),
        pieces(p.pieces),
        slabs(p.slabs_a_piece),
        asymmetric(F::integer && p.segments[0].w.asymmetric),
        layout(slabs * slab_bytes, slabs, Grouped, asymmetric) {}

  // Which group's scale and zero point a slab has.
  __device__ uint32_t group_of(int slab) const {
    return Grouped ? p.slabs_a_group.divide(static_cast<uint32_t>(slab)) : 0u;
  }

  // scales [slab][16] of the lane's row. Half a warp takes every other slab. `meanwhile` is done
  // before the first of them is waited for: codes asked for earlier would be in their way.
  template <class Meanwhile>
  __device__ void decode_scales(const Line& line, int first_slab, uint32_t stage,
                                Meanwhile meanwhile) const {
    const PackedView& w = p.segments[line.segment].w;
    const int64_t first = line.row * (F::flattened ? p.cols / w.groups.size : w.groups.per_line);
    const uint32_t scales = stage + layout.scales + lane % pass_rows * 4;
    w.scale.with_reader([&](auto all) {
      const auto reader = all.from(line.real ? first : 0);
      int from = lane / pass_rows;
      do {  // every lane comes past `meanwhile`
        float value[at_once];
#pragma unroll
        for (int k = 0; k < at_once; ++k) {
          value[k] = reader(group_of(first_slab + min(from + 2 * k, slabs - 1)));
        }
        if (from < 2) meanwhile();
#pragma unroll
        for (int k = 0; k < at_once; ++k) {
          const int slab = from + 2 * k;
          if (slab < slabs) {
            store_shared(scales + slab * (pass_rows * 4), __float_as_uint(value[k]));
          }
        }
        from += 2 * at_once;
      } while (from < slabs);
    });
  }
  __device__ void decode_zeros(const Line& line, int first_slab, uint32_t stage) const {
    const PackedView& w = p.segments[line.segment].w;
    const uint32_t zeros = stage + layout.zeros + lane % pass_rows * 4;
    for (int slab = lane / pass_rows; slab < slabs; slab += 2) {
      store_shared(zeros + slab * (pass_rows * 4),
                   Code::zero_word(w.zeros(line.row, group_of(first_slab + slab))));
    }
  }

  // Copies a piece of the rows of a pass to a stage.
  __device__ void copy(const Line& line, int piece, uint32_t stage, uint32_t full) const {
    const int piece_bytes = slabs * slab_bytes;
    const bool copies = lane < pass_rows && line.real;
    const int lines = __popc(__ballot_sync(0xFFFFFFFFu, copies));
    if (lane == 0) announce_bytes(full, static_cast<uint32_t>(lines * piece_bytes));
    __syncwarp();
    if (copies) {
      const uint8_t* from = p.segments[line.segment].w.codes + line.row * (p.cols / 8 * F::bits) +
                            piece * piece_bytes;
      copy_bulk(stage + lane % pass_rows * layout.line_bytes, from,
                static_cast<uint32_t>(piece_bytes), full);
    }
  }

  // A stage: the codes, and what goes with them.
  __device__ void fill(int pass, int piece, const RingPlace& at) const {
    const uint32_t stage = ring.stage(at), full = ring.full(at);
    const Line line(p, share, pass, lane % pass_rows);
    if constexpr (Grouped) {
      decode_scales(line, piece * slabs, stage, [&] { copy(line, piece, stage, full); });
    } else {
      copy(line, piece, stage, full);
    }
    if (asymmetric && line.real) decode_zeros(line, piece * slabs, stage);
    __syncwarp();
    if (lane == 0) arrive(full);
  }

  // This feeder's stages, every `feeders`th of all that the block will use.
  __device__ void run(int feeder) const {
    const int total = share.passes * pieces;
    RingPlace at{feeder};
    int pass = 0, piece = feeder;
    for (; piece >= pieces; piece -= pieces) ++pass;
    for (int next = feeder; next < total; next += feeders) {
      ring.wait_until_empty(at);
      fill(pass, piece, at);
      at.advance(feeders, ring.count);
      for (piece += feeders; piece >= pieces; piece -= pieces) ++pass;
    }
  }
};

}  // namespace qsweep::kernels::cuda
