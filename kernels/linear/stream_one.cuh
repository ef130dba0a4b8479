// linear/stream_one: one row of x, which is what decoding asks for. The job, and how its blocks
// share it.
//
// Outputs are shared evenly among as many blocks as there are multiprocessors. A block takes the
// rows of W that give them in passes of 2, 4 or 8, a stage of its ring each. These rows lie in one
// piece in memory, with a gate in two, half of them of each kind, and a stage has them just so.
//
// The tensor cores' left operand has sixteen rows. Row w of a pass of R takes P = 16 / R of them:
// slabs of 64 bytes of its codes in turn, phase p = 0 .. P - 1 the slabs p, P + p, ... Each phase
// wants its own part of x, so that the eight columns of the right operand, of which one row of x
// would fill only one, hold x for P phases. Only products of a row with the column of its own phase
// are used.
#pragma once

#include <cstddef>

#include "kernels/linear/stream.cuh"

namespace qsweep::kernels::cuda {

constexpr int one_multipliers = 8, one_copiers = 2, one_decoders = 2;  // warps
constexpr int one_multiplier_threads = one_multipliers * warp_size;
constexpr int slab_bytes = 64;                           // of a row, what four lanes hold at once
constexpr int copy_bytes = 4096;                         // of one bulk copy
constexpr int most_outputs = one_multiplier_threads;     // that a block finishes together
constexpr int vector_cols = 8 * one_multiplier_threads;  // of x, for one vector of each thread
constexpr int most_vectors = 4;

struct OneSegment {
  const uint8_t* codes;
  int first, rows, column;  // as of Segment
};

// The first 48 bytes are what the first copies of one segment need: parameters begin 16 bytes into
// a line of the constant cache, which is 64 long and cold at each launch. Further segments lie in
// the next line.
struct OneRow {
  int share;               // as of Stream
  int line_bytes;          // the codes of a row
  int ring, stage_bytes;   // where the ring begins in shared memory
  uint16_t larger_shares;  // as of Stream
  uint8_t stages;
  uint8_t ahead;      // stages under way at once
  uint8_t pass_log2;  // rows of a pass, R
  uint8_t segment_count;
  Finish finish;
  OneSegment segments[most_segments];
  const uint8_t* scales[most_segments];
  const float* bias[most_segments];
  const float* x;
  const float* norm_weight;
  float* y;
  float norm_eps, inverse_cols;
  int outputs, cols;  // of W
  ScaleCodecId codec;
  int scale_bits, mantissa_bits;
  int groups;  // of a row; 0: one scale for all rows
  SmallDivisor slabs_a_group;
  int phases_log2;   // P
  int sharers_log2;  // warps that multiply a stage together
  int together;      // passes whose outputs are finished together
  // Where things begin in shared memory, in bytes. Barriers are at 0.
  int lines, staged, raw, raw_half;  // and `ring`

  // Of an output, where there is no gate.
  __device__ int segment_of(int output) const {
    int k = 0;
    while (k + 1 < segment_count && output >= segments[k + 1].column) ++k;
    return k;
  }
  __host__ __device__ bool gated() const { return finish == Finish::gate; }
  __host__ __device__ int outputs_of_pass_log2() const { return pass_log2 - (gated() ? 1 : 0); }
};
static_assert(offsetof(OneRow, segments[1]) <= 48);

// The outputs of a block.
struct OneShare {
  int first, end, passes;

  __device__ explicit OneShare(const OneRow& p) {
    const int block = static_cast<int>(blockIdx.x);
    first = block * p.share + min(block, p.larger_shares);
    end = first + p.share + (block < p.larger_shares ? 1 : 0);
    const int log2 = p.outputs_of_pass_log2();
    passes = (end - first + (1 << log2) - 1) >> log2;
  }
};

// The rows of one segment among those of the outputs [first, end).
struct OneRun {
  int begin, count;  // outputs before it, of it; not above 0 where there are none
  int row;           // of the segment's matrix

  __device__ OneRun(const OneRow& p, const OneSegment& segment, int first, int end) {
    const int column = p.gated() ? 0 : segment.column;
    const int from = max(first, column);
    begin = from - first;
    count = min(end, column + segment.rows) - from;
    row = segment.first + from - column;
  }
};

// Scales of the block's rows, as they lie packed in memory: from the multiple of 16 bytes at or
// before the first of a run.
struct RawScales {
  uint32_t to;   // in shared memory
  uint64_t bit;  // of the first scale, in memory

  __device__ RawScales(const OneRow& p, const OneRun& run, int segment, uint32_t raw) {
    const int row_bits = p.groups * p.scale_bits;
    bit = static_cast<uint64_t>(run.row) * static_cast<uint32_t>(row_bits);
    // Runs are up to 30 bytes longer than their scales.
    to = raw + 48 * segment +
         (p.gated() ? segment * p.raw_half : ((run.begin * row_bits) >> 7) * 16);
  }
  __device__ uint32_t skipped_bits() const { return static_cast<uint32_t>(bit & 127); }
};
// At most, with everything between the runs.
inline int raw_bytes(int rows, int row_bits) {
  return static_cast<int>(tiles(int64_t{rows} * row_bits, 128)) * 16 + 48 * most_segments;
}

// Barriers: full and empty of each stage, behind those of the most stages the one of the raw
// scales.
struct OneRing {
  uint32_t memory;
  const OneRow& p;

  __device__ uint32_t full(int slot) const { return memory + slot * 16; }
  __device__ uint32_t empty(int slot) const { return memory + slot * 16 + 8; }
  __device__ uint32_t raw_there() const { return memory + most_stages * 16; }
  __device__ uint32_t stage(int slot) const { return memory + p.ring + slot * p.stage_bytes; }
  __device__ uint32_t scales(int slot) const { return stage(slot) + (p.line_bytes << p.pass_log2); }
  __device__ void advance(int& slot, uint32_t& lap) const {
    if (++slot < p.stages) return;
    slot = 0;
    lap ^= 1;
  }
};
constexpr int one_barriers_bytes = most_stages * 16 + 16;

}  // namespace qsweep::kernels::cuda
