// What linear/stream is asked to do, and how its blocks share the work.
//
// Outputs are shared evenly among as many blocks as there are multiprocessors, so that all read as
// many bytes. A block takes its outputs in passes of sixteen rows of W, the height of a tensor-core
// product; with a gate these are eight rows of the one half and the same eight of the other. A pass
// goes through the columns in pieces, and a piece of a pass is one stage of a ring in shared
// memory: some warps fill it by bulk copies while others multiply what came before.
#pragma once

#include "kernels/activations/activations_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/linear/linears.hpp"

namespace qsweep::kernels::cuda {

constexpr int pass_rows = 16, most_segments = 4;
constexpr int most_stages = 32;  // of a ring: a lane of a warp for each
// Warps that multiply, and warps that feed them. Scales are decoded by the latter; four of them
// hide each other's waits for memory.
constexpr int multipliers = 16, feeders = 4;
constexpr int multiplier_threads = multipliers * warp_size;
constexpr int stream_threads = (multipliers + feeders) * warp_size;
// Of one row of input, for each multiplying thread: so much it keeps in registers.
constexpr int input_vectors = 2, kept_columns = input_vectors * 8 * multiplier_threads;

// Rows [first, first + rows) of one matrix, written from column `column` of y on.
struct Segment {
  PackedView w;
  const float* bias;
  int64_t first, rows, column;
};

// Division by n where x n < 2^31: x / n = x 2^31/n / 2^31, with 2^31/n rounded up.
struct SmallDivisor {
  static constexpr int64_t end = int64_t{1} << 31;
  uint32_t inverse;

  __host__ __device__ static SmallDivisor of(uint32_t n) { return {(0x80000000u + n - 1) / n}; }
  __device__ uint32_t divide(uint32_t x) const { return __umulhi(2 * x, inverse); }
};

struct Stream {
  Segment segments[most_segments];
  int segment_count;
  int outputs;               // columns of y
  int share, larger_shares;  // of a block; so many blocks have one output more
  const float* x;
  int rows;  // of x, at most 8 for each tile of the kernel
  int cols;  // a slab is what a quad of lanes holds of a row at once
  SmallDivisor slabs_a_group;
  int pieces, slabs_a_piece;
  // Warps that share a stage; with fewer than all of them several stages are multiplied at a time.
  // Each stage has lines of its own for its sums, or each warp has one for its stages of a pass.
  int sharers_log2, contributors;  // lines of a pass
  const float* norm_weight;
  float norm_eps;
  Levels levels;
  Finish finish;
  float* y;
  int64_t ldy;

  // One row that the threads keep in registers, and that does not become levels.
  bool one_short_row() const { return rows == 1 && cols <= kept_columns && !levels.on; }
};

// How a stage lies in shared memory: sixteen lines of codes, then scales and zero points
// [slab][16].
struct StageLayout {
  int line_bytes;  // lines of two neighbouring rows start 64 bytes apart, modulo all banks
  int scales, zeros, bytes;

  __host__ __device__ StageLayout(int piece_bytes, int slabs, bool grouped, bool zeroed) {
    line_bytes = piece_bytes + (piece_bytes % 128 == 0 ? 64 : 0);
    scales = pass_rows * line_bytes;
    zeros = scales + (grouped ? pass_rows * slabs * 4 : 0);
    bytes = zeros + (zeroed ? pass_rows * slabs * 4 : 0);
  }
};

// Bytes of a row of the staged input: as with the lines of a stage.
__host__ __device__ inline int staged_bytes(int cols) {
  return (cols * 2 + 127) / 128 * 128 + 64;
}
// Passes whose sums are finished together, so that each of them waits for nothing: with one row of
// input as many as there are threads for; then fewer.
__host__ __device__ inline int passes_together(int rows) {
  return rows >= 8 ? 1 : 8 / rows;
}
// Sums of all contributors for the rows of these passes, twice: who is late still reads the other
// ones.
__host__ __device__ inline int lines_bytes(int rows, int contributors) {
  return 2 * passes_together(rows) * contributors * rows * pass_rows * 4;
}
__host__ __device__ constexpr int barriers_bytes(int stages) {
  return (2 * stages * 8 + 15) / 16 * 16;
}

// Dynamic shared memory: barriers, lines, the staged input, its sums over slabs, the ring.
struct StreamMemory {
  int stages, stage_bytes, slab_sums_bytes;
};

// The outputs of this block, and its passes over them.
struct Share {
  int first, end, passes;
  int a_pass, a_pass_log2;  // outputs of a pass

  __device__ explicit Share(const Stream& p) {
    const int block = static_cast<int>(blockIdx.x);
    first = block * p.share + min(block, p.larger_shares);
    end = first + p.share + (block < p.larger_shares ? 1 : 0);
    a_pass_log2 = p.finish == Finish::gate ? 3 : 4;
    a_pass = 1 << a_pass_log2;
    passes = (end - first + a_pass - 1) >> a_pass_log2;
  }
};

// Row i of a pass: which row of which segment's matrix it is.
struct Line {
  int segment = 0;
  int64_t row = 0;  // of the matrix
  bool real;        // the last pass may have fewer

  __device__ Line(const Stream& p, const Share& share, int pass, int i) {
    const bool gate = p.finish == Finish::gate;
    const int output = share.first + (pass << share.a_pass_log2) + (i & (share.a_pass - 1));
    real = output < share.end;
    if (gate) {
      segment = i >> share.a_pass_log2;
      row = p.segments[segment].first + output;
      return;
    }
    while (segment + 1 < p.segment_count && output >= p.segments[segment + 1].column) ++segment;
    row = p.segments[segment].first + output - p.segments[segment].column;
  }
};

// Where somebody stands who goes round the ring.
struct RingPlace {
  int slot = 0;
  uint32_t lap = 0;  // modulo 2

  // Fewer steps than there are stages.
  __device__ void advance(int steps, int stages) {
    slot += steps;
    if (slot < stages) return;
    slot -= stages;
    lap ^= 1;
  }
};

// The stages and the two barriers of each, in shared memory: full and, once all warps have
// multiplied it, empty.
struct Ring {
  uint32_t barriers, stages;
  int count, bytes;  // of a stage

  __device__ uint32_t full(const RingPlace& at) const { return barriers + at.slot * 8; }
  __device__ uint32_t empty(const RingPlace& at) const { return barriers + (count + at.slot) * 8; }
  __device__ uint32_t stage(const RingPlace& at) const { return stages + at.slot * bytes; }
  // By the block's first warp, a lane for each stage. Who arrives at each barrier: the threads that
  // fill a stage; every lane of the sharers, which costs no more than one for all and lets
  // racecheck see the order.
  __device__ void start(int filling_threads, int sharing_threads) const {
    const RingPlace at{static_cast<int>(threadIdx.x)};
    if (at.slot >= count) return;
    start_barrier(full(at), filling_threads);
    start_barrier(empty(at), sharing_threads);
    publish_barriers();
  }
  __device__ void wait_until_full(const RingPlace& at) const { wait_for_phase(full(at), at.lap); }
  __device__ void wait_until_empty(const RingPlace& at) const {
    wait_for_phase(empty(at), at.lap ^ 1);
  }
};

}  // namespace qsweep::kernels::cuda
