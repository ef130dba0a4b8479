// The warps of linear/stream that fill its ring. Weights do not depend on what is computed, so they
// go ahead as far as there is room.
#pragma once

#include "kernels/linear/stream.cuh"
#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

// Which stage a feeder fills next: every `feeders`th of all that the block will use.
struct FeederPlace {
  int next;  // counted from the current linear's first stage
  RingPlace place{};

  __device__ explicit FeederPlace(int feeder) : next(feeder) { place.slot = feeder; }
};

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

  // scales [slab][16] of the lane's row, and zero points. Half a warp takes every other slab.
  __device__ void decode_scales(const Line& line, int first_slab, uint32_t stage) const {
    const PackedView& w = p.segments[line.segment].w;
    const int i = lane % pass_rows;
    const auto slabs_a_group = static_cast<unsigned>(p.slabs_a_group);
    const auto group_of = [&](int slab) {
      return Grouped ? static_cast<unsigned>(first_slab + slab) / slabs_a_group : 0u;
    };
    if constexpr (Grouped) {
      const int64_t first = line.row * (F::flattened ? p.cols / w.groups.size : w.groups.per_line);
      const uint32_t scales = stage + layout.scales + i * 4;
      w.scale.with_reader([&](auto reader) {
        for (int from = lane / pass_rows; from < slabs; from += 2 * at_once) {
          float value[at_once];
#pragma unroll
          for (int k = 0; k < at_once; ++k) {
            value[k] = reader(first + group_of(min(from + 2 * k, slabs - 1)));
          }
#pragma unroll
          for (int k = 0; k < at_once; ++k) {
            const int slab = from + 2 * k;
            if (slab < slabs) {
              store_shared(scales + slab * (pass_rows * 4), __float_as_uint(value[k]));
            }
          }
        }
      });
    }
    if (!asymmetric) return;
    const uint32_t zeros = stage + layout.zeros + i * 4;
    for (int slab = lane / pass_rows; slab < slabs; slab += 2) {
      store_shared(zeros + slab * (pass_rows * 4),
                   Code::zero_word(w.zeros(line.row, group_of(slab))));
    }
  }

  // Copies a piece of the rows of a pass to a stage, and what goes with it.
  __device__ void fill(int pass, int piece, const RingPlace& at) const {
    const int piece_bytes = slabs * slab_bytes;
    const uint32_t stage = ring.stage(at), full = ring.full(at);
    const int i = lane % pass_rows;
    const Line line(p, share, pass, i);
    const bool copies = lane < pass_rows && line.real;
    const int lines = __popc(__ballot_sync(0xFFFFFFFFu, copies));
    if (lane == 0) announce_bytes(full, static_cast<uint32_t>(lines * piece_bytes));
    __syncwarp();
    if (copies) {
      const uint8_t* from = p.segments[line.segment].w.codes + line.row * (p.cols / 8 * F::bits) +
                            piece * piece_bytes;
      copy_bulk(stage + i * layout.line_bytes, from, static_cast<uint32_t>(piece_bytes), full);
    }
    if constexpr (F::scaled) {
      if (line.real) decode_scales(line, piece * slabs, stage);
    }
    __syncwarp();
    if (lane == 0) arrive(full);
  }

  // This feeder's stages of the linear.
  __device__ void run(FeederPlace& at) const {
    const int total = share.passes * pieces;
    int pass = at.next / pieces, piece = at.next % pieces;
    for (; at.next < total; at.next += feeders) {
      ring.wait_until_empty(at.place);
      fill(pass, piece, at.place);
      at.place.advance(feeders, ring.count);
      for (piece += feeders; piece >= pieces; piece -= pieces) ++pass;
    }
    at.next -= total;
  }
};

}  // namespace qsweep::kernels::cuda
