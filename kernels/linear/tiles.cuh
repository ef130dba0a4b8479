// What linear/tiles is asked to do, and how its blocks share the work.
//
// Outputs are cut into tiles of 128 rows of W, and each tile along the columns into steps: a step
// of a tile is one stage of a ring in shared memory, codes and input side by side. All steps of all
// tiles stand in one line, and every block takes an even stretch of it. A block leaves its sums of
// each tile that it has touched in memory; whoever finishes an output adds those of the blocks that
// share its tile, in their order.
#pragma once

#include "kernels/linear/stream.cuh"

namespace qsweep::kernels::cuda {

constexpr int tile_rows = 128;
// Sixteen rows of W a warp. Beside those that multiply, warps that fill the ring, each every fourth
// stage: by sixteen bytes a lane, since with a bulk copy for each short piece of a row the kernel
// takes nearly twice as long.
constexpr int tile_multipliers = tile_rows / 16 * warp_size, tile_feeders = 4;
constexpr int tile_threads = tile_multipliers + tile_feeders * warp_size;
constexpr int step_columns = 256;

struct Tiles {
  Segment segments[most_segments];
  int first_tile[most_segments];  // of each segment
  int segment_count, tiles;
  int cols, slabs, slabs_a_step, steps;  // of a row of W; a row's last step may have fewer slabs
  int slabs_a_group, scales_a_row;       // 0 where one scale serves all rows
  int blocks, slots;  // blocks that share the line, tiles that one of them may touch
  int stages, stage_bytes, input_bytes;  // of the ring; input of a slab
  int rows, rows_a_part;                 // of x; of what is multiplied at once
  // Parts of rows_a_part rows each: fp16 in the order in which lanes take it, see arrange().
  const uint8_t* x;
  float* sums;  // [parts][blocks][slots][rows_a_part][tile_rows]

  __host__ __device__ uint32_t line_end() const {
    return static_cast<uint32_t>(tiles) * static_cast<uint32_t>(steps);
  }
  __host__ __device__ uint32_t first_step(int block) const {
    return line_end() * static_cast<uint32_t>(block) / static_cast<uint32_t>(blocks);
  }
  // The last block that begins at this step or before.
  __host__ __device__ int block_of(uint32_t step) const {
    const uint32_t n = (step + 1) * static_cast<uint32_t>(blocks), all = line_end();
    return static_cast<int>((n + all - 1) / all) - 1;
  }
  __host__ __device__ int first_tile_of(int block) const {
    return static_cast<int>(first_step(block) / static_cast<uint32_t>(steps));
  }
  // Where the block's sums of a tile stand.
  __device__ float* sums_of(int part, int block, int tile) const {
    const int64_t slot = (int64_t{part} * blocks + block) * slots + tile - first_tile_of(block);
    return sums + slot * rows_a_part * tile_rows;
  }
  __device__ int segment_of_tile(int tile) const {
    int segment = 0;
    while (segment + 1 < segment_count && tile >= first_tile[segment + 1]) ++segment;
    return segment;
  }
};

// A lane holds `Words` words of codes of each of its rows; those of four lanes, side by side, make
// a slab.
template <int Words>
struct TileShape {
  static constexpr int elements = Words * 8, slab_columns = 4 * elements, slab_bytes = 16 * Words;
  static constexpr int products = slab_columns / 16;  // of a slab
  static constexpr int slabs_a_step = step_columns / slab_columns;
  static constexpr int line_bytes = slabs_a_step * slab_bytes;  // codes of a row in a stage
  static constexpr int code_bytes = tile_rows * line_bytes;
  // Input of a slab: a right operand for each product.
  __host__ __device__ static constexpr int input_bytes(int rows) { return slab_columns * rows * 2; }
  // Scales and zero points of a stage, fp32 [slab][tile_rows] each, behind its input and its codes.
  static constexpr int scale_bytes = slabs_a_step * tile_rows * 4;
  static constexpr int bytes(int rows) {
    return slabs_a_step * input_bytes(rows) + code_bytes + 2 * scale_bytes;
  }
};

}  // namespace qsweep::kernels::cuda
