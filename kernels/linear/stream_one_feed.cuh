// The warps of linear/stream_one that fill its ring: two that copy, and where scales change along a
// row two that decode them. Weights do not depend on what is computed, so that all of them start
// before anything else of the block, and go ahead as far as there is room. Scales are copied as
// they are packed, those of the whole block at once and at the start: asked for later they would
// wait behind the codes.
//
// A warp alone gets few instructions through, as each waits for the one before: what can be made
// out once is not made out for each stage. A slot of the ring always has the same warp of each
// kind, which so never meets a barrier two laps behind.
#pragma once

#include "kernels/linear/stream_one.cuh"

namespace qsweep::kernels::cuda {

// The passes that fall into a warp's slots: each `every`th, from slot `mine` on.
struct OneTurns {
  const int passes, stages, every, mine;
  int pass, slot;
  uint32_t lap = 0;

  __device__ OneTurns(const OneRow& p, const OneShare& share, int step, int first)
      : passes(share.passes), stages(p.stages), every(step), mine(first), pass(mine), slot(mine) {}
  __device__ bool left() const { return pass < passes; }
  __device__ void advance() {
    slot += every;
    pass += every;
    if (slot < stages) return;
    pass += stages - slot + mine;
    slot = mine;
    lap ^= 1;
  }
};

// How warps tell each other that the barriers of the ring are made. Those that copy make the one
// that they need first and start at once; the others make the rest meanwhile.
struct OneStart {
  static constexpr int first_made = 2, rest_made = 3;  // named barriers
  const int threads;                                   // of the block

  __device__ void say_made() const { arrive_at(first_made, threads); }
  __device__ void await_rest() const { meet_at(rest_made, threads); }
  __device__ void say_rest_made() const {
    arrive_at(rest_made, threads);
    meet_at(first_made, threads);
  }
};

// A copying warp.
struct OneCopier {
  const OneRow& p;
  const OneRing& ring;
  const OneShare share;
  const int lane = static_cast<int>(threadIdx.x % warp_size);

  __device__ OneCopier(const OneRow& job, const OneRing& r) : p(job), ring(r), share(job) {}

  // A lane for each copy: many short ones are under way at once, and quicker than a few long ones.
  // With a gate, half of the lanes for each half.
  __device__ void copy_pass(int pass, int slot) const {
    const int outputs = p.outputs_of_pass_log2(), first = share.first + (pass << outputs);
    const int end = min(first + (1 << outputs), share.end);
    const uint32_t full = ring.full(slot);
    const int real = (end - first) << (p.gated() ? 1 : 0);
    if (lane == 0) arrive_announcing(full, static_cast<uint32_t>(real * p.line_bytes));
    __syncwarp();
    int k = p.gated() && lane >= warp_size / 2 ? 1 : 0;
    const int last = p.gated() ? k + 1 : p.segment_count;
    const int at = (lane & (p.gated() ? warp_size / 2 - 1 : warp_size - 1)) * copy_bytes;
#pragma unroll 1
    for (; k < last; ++k) {
      const OneRun run(p, p.segments[k], first, end);
      const int bytes = run.count * p.line_bytes;
      if (at >= bytes) continue;
      const int place = p.gated() ? k << outputs : run.begin;
      const uint8_t* from =
          p.segments[k].codes + int64_t{run.row} * static_cast<uint32_t>(p.line_bytes);
      copy_bulk(ring.stage(slot) + place * p.line_bytes + at, from + at,
                static_cast<uint32_t>(min(copy_bytes, bytes - at)), full);
    }
  }

  // `arrivals`: of the barrier of a full stage.
  __device__ void run(int copier, int arrivals, const OneStart& start) const {
    if (lane == 0) {
      start_barrier(ring.full(copier), arrivals);
      publish_barriers();
    }
    __syncwarp();
    start.say_made();
    OneTurns turns(p, share, one_copiers, copier);
    // The stage that must be there before the one of `turns` is asked for.
    int due = 0, due_slot = 0;
    uint32_t due_lap = 0;
#pragma unroll 1
    for (int number = 0;; ++number, turns.advance()) {
      if (number == 1) start.await_rest();
      if (!turns.left() && number > 0) return;
      if (turns.pass >= p.ahead) {
        due_slot += turns.pass - p.ahead - due;
        due = turns.pass - p.ahead;
        if (due_slot >= p.stages) {
          due_slot -= p.stages;
          due_lap ^= 1;
        }
        wait_for_phase(ring.full(due_slot), due_lap);
      }
      if (number > 0) wait_for_phase(ring.empty(turns.slot), turns.lap ^ 1);
      if (turns.left()) copy_pass(turns.pass, turns.slot);
    }
  }
};

// A decoding warp. A lane keeps to one row of a pass.
struct OneDecoder {
  static constexpr int at_once = 6;  // scales of a lane
  const OneRow& p;
  const OneRing& ring;
  const OneShare share;
  const int lane = static_cast<int>(threadIdx.x % warp_size);
  const int outputs = p.outputs_of_pass_log2();
  const int row = lane & ((1 << p.pass_log2) - 1);
  const int slabs = p.line_bytes / slab_bytes, step = warp_size >> p.pass_log2;
  // Of the segment that the lane's row is of: its packed scales in shared memory, where the scales
  // of the block's first output would begin there, and the output behind its last.
  uint32_t from = 0, base = 0;
  int end = 0;

  __device__ OneDecoder(const OneRow& job, const OneRing& r) : p(job), ring(r), share(job) {}

  // Scales are copied as they are packed, those of the whole block at once: a lane for each
  // segment.
  __device__ void copy_raw(uint32_t raw, const OneStart& start) const {
    if (lane == 0) {
      start_barrier(ring.raw_there(), 1);
      publish_barriers();
    }
    __syncwarp();
    start.say_made();
    const int k = min(lane, p.segment_count - 1);
    const OneRun run(p, p.segments[k], share.first, share.end);
    const bool mine = lane < p.segment_count && run.count > 0;
    const RawScales scales(p, run, lane, raw);
    const uint64_t end = scales.bit + static_cast<uint64_t>(run.count) *
                                          static_cast<uint32_t>(p.groups * p.scale_bits);
    const auto from = scales.bit / 128 * 16;
    const auto bytes = mine ? static_cast<uint32_t>((end + 127) / 128 * 16 - from) : 0u;
    const uint32_t all = over_warp(bytes, Add{});
    if (lane == 0) arrive_announcing(ring.raw_there(), all);
    __syncwarp();
    if (mine) copy_bulk(scales.to, p.scales[k] + from, bytes, ring.raw_there());
  }

  __device__ void find_segment(int output, uint32_t raw) {
    const int segment = p.gated() ? row >> outputs : p.segment_of(output);
    const OneRun run(p, p.segments[segment], share.first, share.end);
    const RawScales scales(p, run, segment, raw);
    from = scales.to;
    base = scales.skipped_bits() - static_cast<uint32_t>(run.begin * p.groups * p.scale_bits);
    end = share.first + run.begin + run.count;
  }

  // Scales [slab][row of the pass] behind the codes of the stage; `first`: bit of the row's first.
  template <class Convert>
  __device__ void decode(uint32_t first, uint32_t scales, Convert convert) const {
    const uint32_t to = scales + row * 4;
    for (int at = lane >> p.pass_log2; at < slabs; at += at_once * step) {
      uint32_t window[at_once];  // those beyond the last are other ones
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        const auto slab = static_cast<uint32_t>(min(at + k * step, slabs - 1));
        const uint32_t bit =
            first + p.slabs_a_group.divide(slab) * static_cast<uint32_t>(p.scale_bits);
        const uint32_t word = from + bit / 32 * 4;
        window[k] = __funnelshift_r(load_shared(word), load_shared(word + 4), bit);
      }
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        const int slab = at + k * step;
        if (slab < slabs) store_shared(to + (slab << p.pass_log2) * 4, convert(window[k]));
      }
    }
  }

  __device__ void run(int decoder, uint32_t raw, const OneStart& start) {
    if (decoder == 0) {
      copy_raw(raw, start);
      start.await_rest();
    } else {
      start.say_rest_made();
    }
    const auto row_bits = static_cast<uint32_t>(p.groups * p.scale_bits);
    wait_for_phase(ring.raw_there(), 0);
    with_scale_bits(p.codec, p.scale_bits, p.mantissa_bits, [&](auto convert) {
      for (OneTurns turns(p, share, one_decoders, decoder); turns.left(); turns.advance()) {
        const int mine = (turns.pass << outputs) + (row & ((1 << outputs) - 1));
        const int output = share.first + mine;
        wait_for_phase(ring.empty(turns.slot), turns.lap ^ 1);
        if (output < share.end) {
          if (output >= end) find_segment(output, raw);
          decode(base + static_cast<uint32_t>(mine) * row_bits, ring.scales(turns.slot), convert);
        }
        arrive(ring.full(turns.slot));
      }
    });
  }
};

}  // namespace qsweep::kernels::cuda
