// The kernel behind linear/stream: see linear_cuda.cuh for what it computes and how exactly.
//
// A tile is sixteen rows of W; a block of eight warps takes tiles b, b + grid, ... and its warps
// share a tile's columns. A lane (g = lane / 4, t = lane % 4) holds a chunk of row g and one of row
// g + 8: `Words` words of codes each. The four chunks of a quad stand side by side, so a slab of 4
// chunks of a row is read in one piece, and up to four slabs are in flight while those before are
// multiplied. The tensor cores see W as the left operand, which is the one with sixteen rows: with
// one row of input, as in decoding, half as many products are needed as the other way round. The
// input, the right operand, waits in shared memory as bf16. Weights do not depend on earlier
// kernels, so the first ones are under way before the input is there.
//
// Measured on an H200 (16384 x 3072, one row): instructions were the limit before addresses were
// taken once a tile (bf16 51 us, int4 36 us; then 33 and 20).
#pragma once

#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/linear/linears.hpp"
#include "kernels/linear/stream_codes.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {

constexpr int stream_warps = 8, stream_threads = stream_warps * warp_size;
constexpr int tile_rows = 16, slabs_in_flight = 4, most_segments = 4;

// Rows [first, first + rows) of one matrix, written from column `column` of p on.
struct Segment {
  PackedView w;
  const float* bias;
  int64_t first, rows, column;
};

struct Stream {
  Segment segments[most_segments];
  int segment_count;
  int units;  // tiles; with a gate, pairs of tiles: one of segment 0, one of segment 1
  const float* x;
  int rows;  // of x, at most 16
  int cols, slabs_a_warp, slabs_a_group;
  const float* norm_weight;
  float norm_eps;
  Finish finish;
  float* y;
  int64_t ldy;
};

__host__ __device__ inline int padded_columns(int cols) {
  return cols + 8;  // rows of the input start in different banks
}

// A tile of the block's sequence, the piece of it that a warp loads at once, and where the lane's
// row of it starts.
struct Cursor {
  int unit = 0;
  int half = 0;  // of a gated pair
  int batch = 0;
  int segment = 0;
  int row = 0;                   // of the segment, where the tile starts
  int64_t line[2] = {};          // the lane's rows of the matrix
  const uint8_t* codes[2] = {};  // the lane's first chunks
};

template <class F, int Words, bool Grouped>
struct StreamKernel {
  using Code = Codes<F>;
  static constexpr int elements = Words * 32 / F::bits;  // of a lane's chunk
  static constexpr int slab = 4 * elements;              // columns
  static constexpr int slab_bytes = 4 * Words * 4;

  struct Batch {
    uint32_t words[slabs_in_flight][2][Words];  // of rows g and g + 8
    float scale[2] = {};                        // of these rows, slab t of the batch
    uint32_t zero[2] = {};
  };
  // Products of rows g and g + 8 with input rows 2t, 2t + 1, and (wide) 2t + 8, 2t + 9.
  struct Sums {
    float low[4] = {}, high[4] = {};
  };

  const Stream& p;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, g = lane / 4, t = lane % 4;
  const int warp = static_cast<int>(threadIdx.x) / warp_size;
  const int first_slab, slabs;  // of this warp
  // Pairs of the staged input that meet the lane's first code: of row g, and words from there to
  // row g + 8. Rows that are not there are read as others; nobody asks for what comes of them.
  const uint32_t* input;
  int to_high;

  __device__ StreamKernel(const Stream& stream, const uint32_t* staged)
      : p(stream),
        first_slab(warp * p.slabs_a_warp),
        slabs(min(max(p.cols / slab - first_slab, 0), p.slabs_a_warp)) {
    const int line = padded_columns(p.cols) / 2;
    input = staged + min(g, p.rows - 1) * line + (first_slab * slab + t * elements) / 2;
    to_high = (min(g + 8, p.rows - 1) - min(g, p.rows - 1)) * line;
  }

  // The tile of the cursor's unit: its segment, its rows, the lane's place in it.
  __device__ void enter(Cursor& c) const {
    int tile = c.unit;
    c.segment = c.half;
    if (p.finish != Finish::gate) {
      c.segment = 0;
      while (c.segment + 1 < p.segment_count && tile >= tiles_of(p.segments[c.segment])) {
        tile -= tiles_of(p.segments[c.segment]);
        ++c.segment;
      }
    }
    const Segment& segment = p.segments[c.segment];
    c.row = tile * tile_rows;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      c.line[r] = segment.first + min(c.row + g + 8 * r, static_cast<int>(segment.rows) - 1);
      c.codes[r] =
          segment.w.codes + c.line[r] * (p.cols / 8 * F::bits) + (first_slab * 4 + t) * (Words * 4);
    }
  }
  __device__ static int tiles_of(const Segment& segment) {
    return (static_cast<int>(segment.rows) + tile_rows - 1) / tile_rows;
  }

  // Whether the next batch begins another tile.
  __device__ bool last_of_tile(const Cursor& c) const {
    return (c.batch + 1) * slabs_in_flight >= p.slabs_a_warp;
  }
  __device__ void advance(Cursor& c) const {
    if (!last_of_tile(c)) {
      ++c.batch;
      return;
    }
    c.batch = 0;
    if (p.finish == Finish::gate && c.half == 0) {
      c.half = 1;
    } else {
      c.half = 0;
      c.unit += static_cast<int>(gridDim.x);
    }
    if (c.unit < p.units) enter(c);
  }

  __device__ static void load_chunk(const uint8_t* from, uint32_t (&words)[Words]) {
    if constexpr (Words == 4) {
      const uint4 v = load_once(from);
      words[0] = v.x;
      words[1] = v.y;
      words[2] = v.z;
      words[3] = v.w;
    } else {
      for (int i = 0; i < Words; ++i) words[i] = reinterpret_cast<const uint32_t*>(from)[i];
    }
  }

  __device__ void load(const Cursor& c, Batch& batch) const {
    const int first = c.batch * slabs_in_flight;
#pragma unroll
    for (int j = 0; j < slabs_in_flight; ++j) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (first + j < slabs) {
          load_chunk(c.codes[r] + (first + j) * slab_bytes, batch.words[j][r]);
        } else {
          for (int i = 0; i < Words; ++i) batch.words[j][r][i] = 0;
        }
      }
    }
    if constexpr (F::scaled) {
      for (int r = 0; r < 2; ++r) load_scale(c, r, first + t, batch);
    }
  }

  // Scale and zero point of slab `mine` of the warp's; four lanes of a row have one slab each.
  __device__ void load_scale(const Cursor& c, int r, int mine, Batch& batch) const {
    const PackedView& w = p.segments[c.segment].w;
    batch.scale[r] = 0;  // of nothing
    batch.zero[r] = Code::zero_word(false, 0.0f);
    if (mine >= slabs) return;
    int64_t group = 0;
    if constexpr (Grouped) {
      group = static_cast<unsigned>(first_slab + mine) / static_cast<unsigned>(p.slabs_a_group);
      const int64_t groups_a_row = F::flattened ? p.cols / w.groups.size : w.groups.per_line;
      batch.scale[r] = w.scale(c.line[r] * groups_a_row + group);
    }
    if (w.asymmetric) batch.zero[r] = Code::zero_word(true, w.zeros(c.line[r], group));
  }

  // Two chains of products, joined at the end, keep the tensor cores from waiting for each sum.
  template <bool Wide>
  __device__ void multiply_slab(const uint32_t (&words)[2][Words], const uint32_t (&zero)[2],
                                bool asymmetric, const uint32_t* x, const uint2* table,
                                Sums (&chains)[2]) const {
    constexpr int unit = Code::words_a_unit;
#pragma unroll
    for (int i = 0; i < Words / unit; ++i) {
      const auto upper = Code::decode(words[0] + i * unit, asymmetric, zero[0], table);
      const auto lower = Code::decode(words[1] + i * unit, asymmetric, zero[1], table);
#pragma unroll
      for (int step = 0; step < Code::steps; ++step) {
        const int place = i * Code::steps + step;
        const uint2 low = *reinterpret_cast<const uint2*>(x + place * 2);
        Sums& sums = chains[place % 2];
#pragma unroll
        for (int part = 0; part < Code::parts; ++part) {
          const auto& a = upper.value[part][step];
          const auto& b = lower.value[part][step];
          multiply_add_16x8x16(sums.low, a[0], b[0], a[1], b[1], low.x, low.y);
          if constexpr (Wide) {
            const uint2 high = *reinterpret_cast<const uint2*>(x + to_high + place * 2);
            multiply_add_16x8x16(sums.high, a[0], b[0], a[1], b[1], high.x, high.y);
          }
        }
      }
    }
  }

  // `Wide`: more than 8 rows of the input.
  template <bool Wide>
  __device__ void multiply(const Cursor& c, const Batch& batch, const uint2* table,
                           Sums& sums) const {
    bool asymmetric = false;
    if constexpr (F::integer) asymmetric = p.segments[0].w.asymmetric;  // alike in all segments
    const int first = c.batch * slabs_in_flight;
    const uint32_t* x = input + first * (slab / 2);
#pragma unroll
    for (int j = 0; j < slabs_in_flight; ++j) {
      if (first + j >= slabs) break;  // the same for the whole warp
      const int holder = g * 4 + j;
      uint32_t zero[2] = {Code::zero_word(false, 0.0f), Code::zero_word(false, 0.0f)};
      if (asymmetric) {
        for (int r = 0; r < 2; ++r) zero[r] = __shfl_sync(0xFFFFFFFFu, batch.zero[r], holder);
      }
      Sums chains[2];
      multiply_slab<Wide>(batch.words[j], zero, asymmetric, x + j * (slab / 2), table, chains);
      float scale[2] = {1, 1};
      if constexpr (Grouped) {
        for (int r = 0; r < 2; ++r) scale[r] = __shfl_sync(0xFFFFFFFFu, batch.scale[r], holder);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        sums.low[i] += (chains[0].low[i] + chains[1].low[i]) * scale[i / 2];
        if constexpr (Wide) sums.high[i] += (chains[0].high[i] + chains[1].high[i]) * scale[i / 2];
      }
    }
  }

  // sums of this warp -> lines [input row][16 rows of W].
  __device__ void leave(float* line, Sums& sums) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int n = 2 * t + i % 2, row = g + 8 * (i / 2);
      if (n < p.rows) line[n * tile_rows + row] = sums.low[i];
      if (n + 8 < p.rows) line[(n + 8) * tile_rows + row] = sums.high[i];
    }
    sums = {};
  }
};

// Of an address that is a multiple of 16.
__device__ inline void load_eight(const float* from, float (&value)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(from + i);
    value[i] = four.x;
    value[i + 1] = four.y;
    value[i + 2] = four.z;
    value[i + 3] = four.w;
  }
}

// x [rows, cols], normed where there are weights, to bf16 pairs in the order of the codes.
template <class Order>
__device__ void stage_input(const Stream& p, uint32_t* staged, float* scratch) {
  constexpr auto bf16 = device::Compute::bf16;
  for (int n = 0; n < p.rows; ++n) {
    const float* x = p.x + int64_t{n} * p.cols;
    float scale = 1;
    if (p.norm_weight != nullptr) {
      float squares = 0;
      for (int i = static_cast<int>(threadIdx.x); i < p.cols; i += stream_threads)
        squares += x[i] * x[i];
      squares = over_block(squares, scratch, Add{});
      scale = 1.0f / sqrtf(squares / static_cast<float>(p.cols) + p.norm_eps);
    }
    uint32_t* line = staged + n * padded_columns(p.cols) / 2;
    for (int column = static_cast<int>(threadIdx.x) * 8; column < p.cols;
         column += stream_threads * 8) {
      float value[8], weight[8];
      load_eight(x + column, value);
      if (p.norm_weight != nullptr) {
        load_eight(p.norm_weight + column, weight);
#pragma unroll
        for (int i = 0; i < 8; ++i) value[i] = weight[i] * stored(bf16, value[i] * scale);
      }
#pragma unroll
      for (int i = 0; i < 8; i += 2) {
        line[(column + i) / 2] = bf16_pair(value[Order::column(i)], value[Order::column(i + 1)]);
      }
    }
  }
}

// Sum of all warps for one output, scaled where the whole row has one scale, with its bias.
template <class F, bool Grouped>
__device__ float output(const Stream& p, const float* lines, int n, int row_in_tile,
                        const Segment& segment, int64_t row) {
  float sum = 0;
  for (int w = 0; w < stream_warps; ++w) {
    sum += lines[(w * p.rows + n) * tile_rows + row_in_tile];
  }
  if constexpr (F::scaled && !Grouped) {
    sum *= segment.w.scale(segment.w.groups.index(segment.first + row, 0));
  }
  if (segment.bias != nullptr) sum += segment.bias[segment.first + row];
  return stored(device::Compute::bf16, sum);
}

__device__ inline void write_output(const Stream& p, int n, int64_t column, float value) {
  float& y = p.y[n * p.ldy + column];
  y = p.finish == Finish::residual ? stored(device::Compute::bf16, y + value) : value;
}

// One thread for each output of the tile. The gate of a pair waits in its thread for the other
// half.
template <class F, bool Grouped>
__device__ void finish_tile(const Stream& p, const Cursor& c, const float* lines, float& gate) {
  const int n = static_cast<int>(threadIdx.x) / tile_rows;
  const int row_in_tile = static_cast<int>(threadIdx.x) % tile_rows;
  const Segment& segment = p.segments[c.segment];
  const int64_t row = c.row + row_in_tile;
  if (n >= p.rows || row >= segment.rows) return;
  const float value = output<F, Grouped>(p, lines, n, row_in_tile, segment, row);
  if (p.finish != Finish::gate) {
    write_output(p, n, segment.column + row, value);
  } else if (c.half == 0) {
    gate = stored(device::Compute::bf16, silu(value));
  } else {
    write_output(p, n, row, stored(device::Compute::bf16, gate * value));
  }
}

template <class F, int Words, bool Grouped>
__global__ void __launch_bounds__(stream_threads, 2) stream(const __grid_constant__ Stream p) {
  using Kernel = StreamKernel<F, Words, Grouped>;
  using Table = typename Codes<F>::Table;
  __shared__ float lines[2][stream_warps * 16 * tile_rows];
  __shared__ float scratch[stream_warps];
  __shared__ uint2 table[Table::entries > 0 ? Table::entries : 1];
  auto* x = shared_memory<uint32_t>();
  const Kernel kernel(p, x);
  Cursor at{static_cast<int>(blockIdx.x)};  // blocks never outnumber units
  kernel.enter(at);
  typename Kernel::Batch current;
  kernel.load(at, current);
  let_next_start();
  if constexpr (Table::entries > 0) {
    for (int i = threadIdx.x; i < Table::entries; i += stream_threads) {
      table[i] = Table::entry(static_cast<uint32_t>(i));
    }
  }
  wait_for_previous();
  stage_input<typename Codes<F>::Order>(p, x, scratch);
  __syncthreads();
  const bool wide = p.rows > 8;
  typename Kernel::Sums sums;
  float gate = 0;
  int parity = 0;
  while (at.unit < p.units) {
    Cursor next = at;
    kernel.advance(next);
    typename Kernel::Batch coming;
    if (next.unit < p.units) kernel.load(next, coming);
    if (wide) {
      kernel.template multiply<true>(at, current, table, sums);
    } else {
      kernel.template multiply<false>(at, current, table, sums);
    }
    if (next.batch == 0) {
      kernel.leave(lines[parity] + kernel.warp * p.rows * tile_rows, sums);
      __syncthreads();  // two sets of lines: who is late here still reads the other one
      finish_tile<F, Grouped>(p, at, lines[parity], gate);
      parity ^= 1;
    }
    current = coming;
    at = next;
  }
}

}  // namespace qsweep::kernels::cuda
