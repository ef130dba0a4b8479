// The kernel behind linear/stream: see linear_cuda.cuh for what it computes and how exactly, and
// stream.cuh for how its blocks share the work.
//
// A lane (g = lane / 4, t = lane % 4) holds a chunk of rows g and g + 8 of a pass: `Words` words of
// codes each. The four chunks of a quad stand side by side and make a slab. The tensor cores see W
// as the left operand, which is the one with sixteen rows: with one row of input, as in decoding,
// half as many products are needed as the other way round. The input, the right operand, waits in
// shared memory.
#pragma once

#include "kernels/linear/stream_feed.cuh"
#include "kernels/linear/stream_input.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {

// Products of rows g (0, 1) and g + 8 (2, 3) with input rows 8 tile + 2t (0, 2) and + 1 (1, 3).
template <int Tiles>
struct Sums {
  float tile[Tiles][4] = {};
};

template <class F, int Words, bool Grouped, int Tiles>
struct Multiplier {
  using Code = Codes<F>;
  static constexpr int elements = Words * 32 / F::bits;  // of a lane's chunk
  static constexpr int slab_bytes = 4 * Words * 4;
  using Order = StagedOrder<Code, elements>;
  // More than one chain of products keeps the tensor cores from waiting for each sum.
  static constexpr int chains = Tiles == 1 ? 2 : 1;

  const Ring& ring;
  const uint32_t* table;
  const float* slab_sums;         // [slab][8 Tiles], for codes with an offset
  const int rows, pieces, slabs;  // of the input, of a row, of a piece
  const bool asymmetric;          // alike in all segments
  const StageLayout layout;
  const int lane = static_cast<int>(threadIdx.x) % warp_size, g = lane / 4, t = lane % 4;
  const int sharers;        // warps of a group, which has a stage to itself
  const int groups, group;  // of which this is one
  const int member;         // of the group
  const bool by_stage;      // whether sums are left of each stage: else of each pass
  // The lane's first vector in the staged rows g, g + 8, ... Rows that are not there are read as
  // others; nobody asks for what comes of them.
  uint32_t input[Tiles];

  __device__ Multiplier(const Stream& p, const Ring& r, uint32_t staged, const uint32_t* code_table,
                        const float* sums_of_slabs)
      : ring(r),
        table(code_table),
        slab_sums(sums_of_slabs),
        rows(p.rows),
        pieces(p.pieces),
        slabs(p.slabs_a_piece),
        asymmetric(F::integer && p.segments[0].w.asymmetric),
        layout(slabs * slab_bytes, slabs, Grouped, asymmetric),
        sharers(1 << p.sharers_log2),
        groups(multipliers >> p.sharers_log2),
        group(static_cast<int>(threadIdx.x) / warp_size >> p.sharers_log2),
        member(static_cast<int>(threadIdx.x) / warp_size & (sharers - 1)),
        by_stage(p.contributors < multipliers) {
    for (int tile = 0; tile < Tiles; ++tile) {
      const int row = min(g + 8 * tile, rows - 1);
      input[tile] = staged + row * staged_bytes(p.cols) + t * (8 * Order::vector);
    }
  }

  // The right operand for vector v of slab `slab` of the row: two words for each of its steps.
  __device__ static void load_operand(uint32_t x, int slab, int v,
                                      uint32_t (&b)[2 * Order::vector]) {
    const int vectors = slab * (Order::steps / Order::vector) + v;
    load_shared(x + vectors * (32 * Order::vector), b);
  }

  // Adds the products of one slab: slab `slab` of the row, codes of row g and of row g + 8.
  __device__ void multiply_slab(const uint32_t (&words)[2][Words], const uint32_t (&zero)[2],
                                int slab, Sums<Tiles> (&sums)[chains]) const {
    constexpr int unit = Code::words_a_unit;
    uint32_t b[Tiles][2 * Order::vector];
#pragma unroll
    for (int i = 0; i < Words / unit; ++i) {
      const auto upper = Code::decode(words[0] + i * unit, asymmetric, zero[0], table);
      const auto lower = Code::decode(words[1] + i * unit, asymmetric, zero[1], table);
#pragma unroll
      for (int s = 0; s < Code::steps; ++s) {
        const int step = i * Code::steps + s, at = step % Order::vector * 2;
#pragma unroll
        for (int tile = 0; tile < Tiles; ++tile) {
          if (at == 0) load_operand(input[tile], slab, step / Order::vector, b[tile]);
          multiply_add_16x8x16<Code::half>(sums[step % chains].tile[tile], upper.value[s][0],
                                           lower.value[s][0], upper.value[s][1], lower.value[s][1],
                                           b[tile][at], b[tile][at + 1]);
        }
      }
    }
  }

  // What the offset of its codes adds to the sums of slab `slab` of the row, to be taken off.
  __device__ void take_offset(int slab, const uint32_t (&zero)[2], Sums<Tiles>& sums) const {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
      const float2 x =
          *reinterpret_cast<const float2*>(slab_sums + slab * (8 * Tiles) + 8 * tile + 2 * t);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float level = asymmetric ? __uint_as_float(zero[i / 2]) : Code::zero;
        sums.tile[tile][i] -= level * (i % 2 == 0 ? x.x : x.y);
      }
    }
  }

  // This warp's slabs of a stage that is full. `first_slab` of the row is the stage's first. The
  // stages of a ring begin with different warps, so that over some stages all have as many.
  __device__ void multiply_stage(const RingPlace& at, int first_slab,
                                 Sums<Tiles> (&sums)[chains]) const {
    const uint32_t stage = ring.stage(at);
    const uint32_t codes = stage + g * layout.line_bytes + t * (Words * 4);
    const uint32_t scales = stage + layout.scales + g * 4, zeros = stage + layout.zeros + g * 4;
    const int odd = slabs & (sharers - 1);
    const int first = (member + at.slot * (sharers - odd)) & (sharers - 1);
#pragma unroll 2
    for (int slab = first; slab < slabs; slab += sharers) {
      uint32_t words[2][Words];
      load_shared(codes + slab * slab_bytes, words[0]);
      load_shared(codes + slab * slab_bytes + 8 * layout.line_bytes, words[1]);
      uint32_t zero[2] = {0, 0};
      if (asymmetric) {
        zero[0] = load_shared(zeros + slab * (pass_rows * 4));
        zero[1] = load_shared(zeros + slab * (pass_rows * 4) + 32);
      }
      if constexpr (!Grouped) {
        if constexpr (Code::offset) take_offset(first_slab + slab, zero, sums[0]);
        multiply_slab(words, zero, first_slab + slab, sums);
      } else {
        const uint32_t at_slab = scales + slab * (pass_rows * 4);
        const float scale[2] = {__uint_as_float(load_shared(at_slab)),
                                __uint_as_float(load_shared(at_slab + 32))};
        Sums<Tiles> mine[chains];
        if constexpr (Code::offset) take_offset(first_slab + slab, zero, mine[0]);
        multiply_slab(words, zero, first_slab + slab, mine);
#pragma unroll
        for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            float sum = mine[0].tile[tile][i];
            for (int c = 1; c < chains; ++c) sum += mine[c].tile[tile][i];
            sums[0].tile[tile][i] += sum * scale[i / 2];
          }
        }
      }
    }
  }

  // This warp's sums for the rows of a pass -> line [input row][16].
  __device__ void leave(const Sums<Tiles> (&sums)[chains], float* line) const {
#pragma unroll
    for (int tile = 0; tile < Tiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int n = 8 * tile + 2 * t + i % 2, row = g + 8 * (i / 2);
        float sum = sums[0].tile[tile][i];
        if constexpr (!Grouped) {
          for (int c = 1; c < chains; ++c) sum += sums[c].tile[tile][i];
        }
        if (n < rows) line[n * pass_rows + row] = sum;
      }
    }
  }

  // Sums over the columns of this group's stages of a pass -> lines [contributor][input row][16].
  // `number` counts stages.
  __device__ void multiply_pass(RingPlace& at, int& number, float* lines) const {
    const int a_line = rows * pass_rows;
    Sums<Tiles> sums[chains];
    for (int piece = 0; piece < pieces; ++piece, ++number) {
      if ((number & (groups - 1)) == group) {
        // The lap before was another group's.
        if (groups > 1 && number >= ring.count) ring.wait_until_empty(at);
        ring.wait_until_full(at);
        multiply_stage(at, piece * slabs, sums);
        __syncwarp();
        arrive(ring.empty(at));
        if (by_stage) {
          leave(sums, lines + (piece * sharers + member) * a_line);
          for (auto& sum : sums) sum = {};
        }
      }
      at.advance(1, ring.count);
    }
    if (!by_stage) leave(sums, lines + (group * sharers + member) * a_line);
  }
};

// One output of a few passes, and what goes into it beside the sum, fetched before the sum is
// there.
template <class F, bool Grouped>
struct Output {
  bool real = false;
  int n = 0, i = 0, pass = 0;  // row of the input, row of the pass, which of the passes
  float* y = nullptr;
  float before = 0;                       // what y held
  float scale[2] = {1, 1}, bias[2] = {};  // the second for the other half of a gate

  // That of thread `at` of the multiplying threads, for `together` passes from `first` on.
  __device__ Output(const Stream& p, const Share& share, int rows, int first, int together,
                    int at) {
    i = at & (share.a_pass - 1);
    n = at >> share.a_pass_log2;
    if (rows > 1) {
      pass = n / rows;
      n -= pass * rows;
    } else {
      pass = n;
      n = 0;
    }
    if (pass >= together) return;
    const Line line(p, share, first + pass, i);
    real = line.real;
    if (!real) return;
    y = p.y + n * p.ldy + share.first + ((first + pass) << share.a_pass_log2) + i;
    fetch(p, line, 0);
    if (p.finish == Finish::gate) fetch(p, Line(p, share, first + pass, i + share.a_pass), 1);
  }
  __device__ void fetch(const Stream& p, const Line& line, int which) {
    const Segment& segment = p.segments[line.segment];
    if constexpr (F::scaled && !Grouped) {
      scale[which] = segment.w.scale(segment.w.groups.index(line.row, 0));
    }
    if (segment.bias != nullptr) bias[which] = segment.bias[line.row];
  }

  // Behind wait_for_previous().
  __device__ void fetch_before(const Stream& p) {
    if (real && p.finish == Finish::residual) before = *y;
  }

  // All sums for row `row` of the pass, as the linear gives them.
  __device__ float product(const float* sums, const Stream& p, int row, float power,
                           int which) const {
    const float* lines = sums + (pass * p.contributors * p.rows + n) * pass_rows + row;
    float sum = 0;
#pragma unroll 4
    for (int k = 0; k < p.contributors; ++k) sum += lines[k * p.rows * pass_rows];
    return stored(device::Compute::bf16, sum * power * scale[which] + bias[which]);
  }
  __device__ void finish(const Stream& p, const float* lines, int a_pass,
                         const float* powers) const {
    constexpr auto bf16 = device::Compute::bf16;
    if (!real) return;
    const float value = product(lines, p, i, powers[n], 0);
    if (p.finish == Finish::none) {
      *y = value;
    } else if (p.finish == Finish::residual) {
      *y = stored(bf16, before + value);
    } else {
      const float up = product(lines, p, i + a_pass, powers[n], 1);
      *y = stored(bf16, stored(bf16, silu(value)) * up);
    }
  }
};

// What the multiplying warps have in shared memory.
struct Workplace {
  unsigned char* staged;
  float* lines;
  float* powers;  // [rows] what the sums of a row of input are to be multiplied by
  const float* slab_sums;
  const uint32_t* table;
};

// What the multiplying warps do. With one row all that does not ask for the input is made out
// before `stage` waits for it, where it costs no time; with more it would cost registers.
template <class F, int Words, bool Grouped, int Tiles, bool OneRow, class Stage>
__device__ void multiply(const Stream& p, const Ring& ring, const Workplace& place, Stage stage) {
  static_assert(8 * Tiles * pass_rows <= multiplier_threads, "a thread for each output of a pass");
  if constexpr (!OneRow) stage();
  const Multiplier<F, Words, Grouped, Tiles> kernel(p, ring, shared_address(place.staged),
                                                    place.table, place.slab_sums);
  const Share share(p);
  const int together = passes_together(p.rows), a_line = p.contributors * p.rows * pass_rows;
  const auto output_of = [&](int first) {
    return Output<F, Grouped>(p, share, p.rows, first, min(together, share.passes - first),
                              static_cast<int>(threadIdx.x));
  };
  float* sums = place.lines;
  float* others = sums + together * a_line;
  int number = 0;
  RingPlace at;
  Output<F, Grouped> mine = output_of(0);
  if constexpr (OneRow) stage();
  mine.fetch_before(p);
  sync_threads(multiplier_threads);
  for (int first = 0;;) {
    const int passes = min(together, share.passes - first);
    for (int k = 0; k < passes; ++k) kernel.multiply_pass(at, number, sums + k * a_line);
    sync_threads(multiplier_threads);
    mine.finish(p, sums, share.a_pass, place.powers);
    first += together;
    if (first >= share.passes) return;
    mine = output_of(first);
    mine.fetch_before(p);
    float* const swapped = sums;
    sums = others;
    others = swapped;
  }
}

template <class F>
__device__ void make_table(uint32_t* table) {
  using Table = typename Codes<F>::Table;
  if constexpr (Table::entries > 0) {
    for (int i = threadIdx.x; i < Table::entries; i += stream_threads) {
      table[i] = Table::entry(static_cast<uint32_t>(i));
    }
  }
}

// `OneRow`: of up to kept_columns, without levels, where stream_one.cuh leaves it: nf4, zero
// points, short groups. In one kernel with the staging of more rows each launch would step over its
// instructions, which costs 0.5 us.
template <class F, int Words, bool Grouped, int Tiles, bool OneRow>
__global__ void __launch_bounds__(stream_threads, 1)
    stream(const __grid_constant__ Stream p, StreamMemory sizes) {
  __shared__ uint32_t table[Codes<F>::Table::entries > 0 ? Codes<F>::Table::entries : 1];
  __shared__ Magnitude scratch[multipliers];
  __shared__ float powers[8 * Tiles];
  auto* memory = shared_memory<unsigned char>();
  auto* lines = reinterpret_cast<float*>(memory + barriers_bytes(sizes.stages));
  unsigned char* staged =
      memory + barriers_bytes(sizes.stages) + lines_bytes(p.rows, p.contributors);
  unsigned char* behind = staged + p.rows * staged_bytes(p.cols);
  const SlabSums slab_sums{reinterpret_cast<float*>(behind), 8 * Tiles};
  const Ring ring{shared_address(memory), shared_address(behind + sizes.slab_sums_bytes),
                  sizes.stages, sizes.stage_bytes};
  if (threadIdx.x < warp_size) ring.start(1, warp_size << p.sharers_log2);
  make_table<F>(table);
  let_next_start();
  __syncthreads();
  if (threadIdx.x >= multiplier_threads) {
    const int feeder = (static_cast<int>(threadIdx.x) - multiplier_threads) / warp_size;
    Feeder<F, Words, Grouped>(p, ring).run(feeder);
    return;
  }
  using Order = typename Multiplier<F, Words, Grouped, Tiles>::Order;
  const Workplace place{staged, lines, powers, slab_sums.sums, table};
  multiply<F, Words, Grouped, Tiles, OneRow>(p, ring, place, [&] {
    if constexpr (OneRow) {
      stage_row<Order>(p, staged, powers, scratch, slab_sums);
    } else {
      wait_for_previous();
      RowsStaging<Order>(p, staged).run(powers, scratch, slab_sums);
    }
  });
}

}  // namespace qsweep::kernels::cuda
