// What linear/tiles is asked to do, and how its blocks share the work.
//
// Outputs are cut into tiles of 128 rows of W: with a gate 64 of the one half and the same 64 of
// the other. A tile goes through the columns in steps; a step is one stage of a ring in shared
// memory, codes and input side by side. Where there are tiles for more than half of the
// multiprocessors, each block takes whole ones; where there are fewer, the blocks of a cluster
// share the columns of one (`splits`) and add their sums, in their order, through each other's
// memory.
#pragma once

#include "kernels/linear/stream.cuh"

namespace qsweep::kernels::cuda {

constexpr int tile_rows = 128;
// Sixteen rows of W a warp. Beside those that multiply, warps that fill the ring, each every fourth
// stage: by sixteen bytes a lane, since with a bulk copy for each short piece of a row the kernel
// takes nearly twice as long.
constexpr int group_threads = tile_rows / 16 * warp_size, tile_feeders = 4;
constexpr int step_columns = 256;
constexpr int step_bytes = step_columns / 2;  // of codes of a row

// Who multiplies so many rows of x at once. Warpgroup products take nearly as long for 8 rows as
// for 16; the warps' own take as long as there are rows. For few rows there are two groups of warps
// that take every other step, so that one decodes while the other waits; for many the sums leave no
// registers for that, and one group decodes beside its own products.
template <int Columns>
struct TileTeam {
  static constexpr bool warpgroups = Columns > 16;
  static constexpr int groups = warpgroups ? 1 : 2, multipliers = groups * group_threads;
  static constexpr int threads = multipliers + tile_feeders * warp_size;
  // Sums that one group leaves to the other.
  static constexpr int joined_bytes = (groups - 1) * Columns * tile_rows * 4;
};

struct Tiles {
  Segment segments[most_segments];  // with a gate the two halves
  int first_tile[most_segments];    // of each segment
  int segment_count, tiles;
  int cols, slabs, slabs_a_step, steps;  // of a row of W; a row's last step may have fewer slabs
  int slabs_a_group, scales_a_row;       // 0 where one scale serves all rows
  int splits;                            // blocks of a cluster
  int stages, stage_bytes, input_bytes;  // of the ring; input of a slab
  int rows, rows_a_part;                 // of x; of what is multiplied at once
  Finish finish;
  // Parts of rows_a_part rows each: fp16 in the order in which lanes take it, see tiles_input.cuh.
  const uint8_t* x;
  const float* powers;  // [rows] what sums are multiplied by
  float* y;
  int64_t ldy;

  __host__ __device__ bool gated() const { return finish == Finish::gate; }
};

// A lane holds `Words` words of codes of each of its rows; those of four lanes, side by side, make
// a slab.
template <int Words>
struct TileShape {
  static constexpr int elements = Words * 8, slab_columns = 4 * elements, slab_bytes = 16 * Words;
  static constexpr int products = slab_columns / 16;  // of a slab
  static constexpr int slabs_a_step = step_columns / slab_columns;
  static constexpr int code_bytes = tile_rows * step_bytes;
  // Input of a slab: a right operand for each product.
  __host__ __device__ static constexpr int input_bytes(int rows) { return slab_columns * rows * 2; }
  // Scales and zero points of a stage, fp32 [slab][tile_rows] each, behind its input and its codes.
  static constexpr int scale_bytes = slabs_a_step * tile_rows * 4;
  static constexpr int bytes(int rows) {
    return slabs_a_step * input_bytes(rows) + code_bytes + 2 * scale_bytes;
  }
};

// Rows of codes in a stage follow each other without a gap: neighbouring ones have their 16-byte
// vectors in another order, so that lanes that read the same columns of several find them in
// different banks. What is to be turned over in the offset of byte 16 k of row i.
__device__ inline uint32_t turned(int i) {
  return static_cast<uint32_t>((i & 1) << 2 | (i & 2)) * 16;
}

// The tiles of this block, one each round, and its steps of each.
struct TileShare {
  int first, apart, rounds;  // tiles
  int split, first_step, steps;

  __device__ explicit TileShare(const Tiles& p)
      : first(static_cast<int>(blockIdx.x)),
        apart(static_cast<int>(gridDim.x)),
        rounds((p.tiles - first + apart - 1) / apart),
        split(static_cast<int>(blockIdx.y)),
        first_step(p.steps * split / p.splits),
        steps(p.steps * (split + 1) / p.splits - first_step) {}
  __device__ int end_step() const { return first_step + steps; }
  __device__ int tile(int round) const { return first + round * apart; }
};

// The rows of W of a tile. Row i of it belongs to warp i / 16; the upper and the lower eight rows
// of a warp come from the two halves of a gate, so that one lane has both factors.
struct TileRows {
  int segment[2], first[2], end[2];  // of the upper and the lower eights; end of the segment
  int apart;                         // from a warp's rows to the next one's

  __device__ TileRows(const Tiles& p, int tile) : apart(p.gated() ? 8 : 16) {
    int found = 0;
    while (!p.gated() && found + 1 < p.segment_count && tile >= p.first_tile[found + 1]) ++found;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      segment[half] = p.gated() ? half : found;
      const Segment& s = p.segments[segment[half]];
      first[half] = static_cast<int>(s.first) +
                    (p.gated() ? tile * (tile_rows / 2)
                               : (tile - p.first_tile[found]) * tile_rows + half * 8);
      end[half] = static_cast<int>(s.first + s.rows);
    }
  }
  __device__ static int half_of(int i) {
    return i >> 3 & 1;
  }
  __device__ int row(int i) const {
    return (half_of(i) ? first[1] : first[0]) + apart * (i >> 4) + (i & 7);
  }
  __device__ int end_of(int i) const {
    return half_of(i) ? end[1] : end[0];
  }
  __device__ int segment_of(int i) const {
    return half_of(i) ? segment[1] : segment[0];
  }
  __device__ bool real(int i) const {
    return row(i) < end_of(i);
  }
};

}  // namespace qsweep::kernels::cuda
