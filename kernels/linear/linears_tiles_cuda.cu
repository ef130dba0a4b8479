// linears() of up to 128 rows on 4-bit weights: the input is laid out for the tensor cores, weights
// are read packed and multiplied, and what stands behind the linears is done with their sums.
#include <climits>

#include "device/buffer.hpp"
#include "device/gpu.hpp"
#include "kernels/common.hpp"
#include "kernels/linear/linear_cuda.cuh"
#include "kernels/linear/stream_plan.cuh"
#include "kernels/linear/tiles_kernel.cuh"
#include "kernels/rmsnorm/rmsnorm_cuda.cuh"
#include "kernels/silu_mul/silu_mul.hpp"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;
using quant::FormatId;

// Of a row of input in bf16, in shared memory.
constexpr int64_t most_row_bytes = 200 << 10;

struct Arrange {
  const float* x;
  const float* norm_weight;
  float eps;
  int rows, cols, rows_a_part;
  Levels levels;
  uint8_t* out;
  float* powers;  // [rows] what sums are to be multiplied by
};

// Row blockIdx.x of x, normed, as fp16 times a power of two (as in stream_input.cuh) or as levels,
// in the right operands of the products: [part][slab][product][eight rows][half][row][eight
// elements]. Element k of a product is what lane t = k / 2 % 4 holds of its own elements 4 product
// + k % 2 (+ 2 in the second half). Rows that are not there are zeros.
template <class F, int Words>
__global__ void __launch_bounds__(most_norm_threads) arrange(Arrange p) {
  using Shape = TileShape<Words>;
  using Order = typename TileCodes<F>::Order;
  constexpr auto bf16 = device::Compute::bf16;
  __shared__ float scratch[most_norm_threads / warp_size];
  auto* values = shared_memory<uint16_t>();
  wait_for_previous();
  let_next_start();
  const int row = static_cast<int>(blockIdx.x), threads = static_cast<int>(blockDim.x);
  const bool real = row < p.rows;
  float largest = 0;
  if (real) {
    const float* x = p.x + int64_t{row} * p.cols;
    if (p.norm_weight != nullptr) {
      // Not `Whole`, whose stores are for global memory alone.
      norm_vector<false>(bf16, x, p.norm_weight, p.cols, p.eps, values);
    } else {
      for (int i = static_cast<int>(threadIdx.x); i < p.cols; i += threads) {
        values[i] = float_to_bf16(x[i]);
      }
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < p.cols; i += threads) {
      largest = fmaxf(largest, fabsf(bf16_to_float(values[i])));
    }
    largest = over_block(largest, scratch, Larger{});
  }
  const float power = p.levels.on ? 1.0f : power_for_fp16(largest);
  const float step = p.levels.on ? p.levels.scale(largest) : 1.0f;
  if (real && threadIdx.x == 0) p.powers[row] = step / power;
  const int part = row / p.rows_a_part, of_part = row % p.rows_a_part;
  uint8_t* out =
      p.out + int64_t{part} * (p.cols / Shape::slab_columns) * Shape::input_bytes(p.rows_a_part);
  constexpr int eights = Shape::slab_columns / 8;
  for (int i = static_cast<int>(threadIdx.x); i < p.cols / 8; i += threads) {
    const int slab = i / eights, product = i % eights / 2, half = i % 2;
    uint32_t pair[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      float v[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int element = 4 * product + 2 * half + k;
        const int column = slab * Shape::slab_columns + t * Shape::elements + element / 8 * 8 +
                           Order::column(element % 8);
        v[k] = real ? bf16_to_float(values[column]) : 0.0f;
        v[k] = p.levels.on ? p.levels.level(v[k], step) : v[k] * power;
      }
      pair[t] = fp16_pair(v[0], v[1]);
    }
    uint8_t* to = out + int64_t{slab} * Shape::input_bytes(p.rows_a_part) +
                  product * (p.rows_a_part * 32) + of_part / 8 * 256 + half * 128 +
                  of_part % 8 * 16;
    *reinterpret_cast<uint4*>(to) = make_uint4(pair[0], pair[1], pair[2], pair[3]);
  }
}

// A column of all linears side by side: where its sums stand.
struct TileColumn {
  const float* first;  // of the first block that shares its tile, for the first row of the part
  const float* rest;   // of the next one, whose first tile it is
  int64_t a_block;     // from there to the one behind
  int blocks;
  float bias;

  __device__ TileColumn(const Tiles& p, int part, int64_t column) {
    int which = 0;
    while (which + 1 < p.segment_count && column >= p.segments[which + 1].column) ++which;
    const Segment& segment = p.segments[which];
    const int row = static_cast<int>(column - segment.column);
    const int tile = p.first_tile[which] + row / tile_rows;
    const auto steps = static_cast<uint32_t>(p.steps), begin = static_cast<uint32_t>(tile) * steps;
    const int block = p.block_of(begin);
    first = p.sums_of(part, block, tile) + row % tile_rows;
    rest = p.sums_of(part, block + 1, p.first_tile_of(block + 1)) + row % tile_rows;
    a_block = int64_t{p.slots} * p.rows_a_part * tile_rows;
    blocks = p.block_of(begin + steps - 1) - block;
    bias = segment.bias == nullptr ? 0.0f : segment.bias[row];
  }
  // Of row `row` of the part, as the linear gives it.
  __device__ float product(int row, float power) const {
    float sum = first[row * tile_rows];
    for (int i = 0; i < blocks; ++i) sum += rest[i * a_block + row * tile_rows];
    return stored(device::Compute::bf16, sum * power + bias);
  }
};

constexpr int finish_threads = 128, finish_rows_a_thread = 4;

// y [rows, cols] from the sums.
template <Finish Then>
__global__ void finish_tiles(const __grid_constant__ Tiles p, const float* powers, int64_t cols,
                             float* y) {
  constexpr auto bf16 = device::Compute::bf16;
  wait_for_previous();
  let_next_start();
  const int begin = static_cast<int>(blockIdx.y) * finish_rows_a_thread;
  const int64_t column = int64_t{blockIdx.x} * finish_threads + threadIdx.x;
  if (column >= cols) return;
  const int part = begin / p.rows_a_part;
  const TileColumn mine(p, part, column);
  const TileColumn other(p, part, Then == Finish::gate ? column + cols : column);
#pragma unroll
  for (int k = 0; k < finish_rows_a_thread; ++k) {
    const int n = begin + k, of_part = n - part * p.rows_a_part;
    if (n >= p.rows) continue;
    float* to = y + n * cols + column;
    float value = mine.product(of_part, powers[n]);
    if constexpr (Then == Finish::residual) value = stored(bf16, *to + value);
    if constexpr (Then == Finish::gate) {
      const float up = other.product(of_part, powers[n]);
      value = stored(bf16, stored(bf16, silu(value)) * up);
    }
    *to = value;
  }
}

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

bool suits(const device::Context& context, const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  if (context.compute != device::Compute::bf16) return false;
  if (args.rows <= gemv_rows || args.rows > tiles_rows) return false;
  if (quant::code_bits(first.spec.id) != 4 || chunk_words(first.spec, first.cols) < 2) return false;
  if (first.cols * 2 > most_row_bytes || args.parts.size() > size_t{most_segments}) return false;
  const bool grouped = grouped_along(first.spec, first.cols);
  if (first.spec.id == FormatId::nf4 && (!grouped || first.cols % first.spec.group != 0)) {
    return false;
  }
  int64_t out = 0;
  for (const LinearPart& part : args.parts) {
    if (!(part.weight->spec == first.spec) || part.weight->cols != first.cols) return false;
    out += part.weight->rows;
  }
  // Places in the line of all steps, times blocks, are 32 bits, and so are those of scales.
  return out * first.cols <= int64_t{1} << 36;
}

// Blocks that share the line: all multiprocessors, or one a tile where that is nearly as many.
int blocks_of(const Tiles& p) {
  const int all = device::gpu_info().multiprocessors;
  if (p.tiles <= all && 10 * p.tiles >= 9 * all) return p.tiles;
  return static_cast<int>(std::min<uint32_t>(static_cast<uint32_t>(all), p.line_end()));
}

template <class F, int Words>
Tiles plan(const LinearsArgs& args, int rows_a_part) {
  using Shape = TileShape<Words>;
  Tiles p{};
  int64_t out = 0;
  for (const LinearPart& part : args.parts) {
    p.first_tile[p.segment_count] = p.tiles;
    p.segments[p.segment_count++] = {view_of(*part.weight), part.bias, 0, part.weight->rows, out};
    p.tiles += static_cast<int>(tiles(part.weight->rows, tile_rows));
    out += part.weight->rows;
  }
  const quant::PackedMatrix& first = *args.parts.front().weight;
  p.cols = static_cast<int>(first.cols);
  p.slabs = p.cols / Shape::slab_columns;
  p.slabs_a_step = Shape::slabs_a_step;
  p.steps = static_cast<int>(tiles(p.slabs, p.slabs_a_step));
  p.slabs_a_group = grouped_along(first.spec, first.cols)
                        ? static_cast<int>(first.spec.group / Shape::slab_columns)
                        : INT_MAX;
  if (first.spec.group != quant::per_tensor) {
    p.scales_a_row = static_cast<int>(tiles(p.slabs, p.slabs_a_group));
  }
  p.blocks = blocks_of(p);
  for (int b = 0; b < p.blocks; ++b) {
    const auto last = static_cast<int>((p.first_step(b + 1) - 1) / static_cast<uint32_t>(p.steps));
    p.slots = std::max(p.slots, last - p.first_tile_of(b) + 1);
  }
  p.rows = static_cast<int>(args.rows);
  p.rows_a_part = rows_a_part;
  p.input_bytes = Shape::input_bytes(p.rows_a_part);
  p.stage_bytes = Shape::bytes(p.rows_a_part);
  p.stages = static_cast<int>(
      std::min<int64_t>((all_memory - barriers_bytes(most_stages)) / p.stage_bytes, most_stages));
  return p;
}

template <Finish Then>
void finish_as(const device::Context& context, const Tiles& p, const float* powers, int64_t cols,
               float* y) {
  const dim3 blocks(blocks_for(cols, finish_threads).x, blocks_for(p.rows, finish_rows_a_thread).x);
  launch(context, finish_tiles<Then>, {blocks, dim3(finish_threads)}, p, powers, cols, y);
}

void finish(const device::Context& context, const Tiles& p, const LinearsArgs& args,
            const float* powers) {
  int64_t out = 0;
  for (const LinearPart& part : args.parts) out += part.weight->rows;
  if (args.finish == Finish::none) finish_as<Finish::none>(context, p, powers, out, args.y);
  if (args.finish == Finish::residual) finish_as<Finish::residual>(context, p, powers, out, args.y);
  if (args.finish == Finish::gate) finish_as<Finish::gate>(context, p, powers, out / 2, args.y);
}

template <class F, int Words, int Columns>
void run(const device::Context& context, const LinearsArgs& args) {
  Tiles p = plan<F, Words>(args, Columns);
  const auto parts = static_cast<int>(tiles(p.rows, p.rows_a_part));
  Buffer x = scratch(int64_t{parts} * p.slabs * p.input_bytes);
  Buffer powers = scratch(args.rows * 4);
  Buffer sums = scratch(int64_t{parts} * p.blocks * p.slots * p.rows_a_part * tile_rows * 4);
  p.x = x.as<uint8_t>();
  p.sums = sums.as<float>();
  const Arrange input{args.x,
                      args.norm_weight,
                      static_cast<float>(args.norm_eps),
                      p.rows,
                      p.cols,
                      p.rows_a_part,
                      levels_of(args.activations),
                      x.as<uint8_t>(),
                      powers.as<float>()};
  launch(context, arrange<F, Words>,
         {dim3(static_cast<unsigned>(parts * p.rows_a_part)), norm_threads(p.cols),
          static_cast<size_t>(p.cols) * 2},
         input);
  const size_t memory = static_cast<size_t>(barriers_bytes(p.stages)) +
                        static_cast<size_t>(p.stages) * static_cast<size_t>(p.stage_bytes);
  launch(context, tiles_kernel<F, Words, Columns>,
         {dim3(static_cast<unsigned>(p.blocks), static_cast<unsigned>(parts)), dim3(tile_threads),
          memory},
         p);
  finish(context, p, args, powers.as<float>());
}

template <class F, int Words>
void run_columns(const device::Context& context, const LinearsArgs& args) {
  if (args.rows <= 32) return run<F, Words, 32>(context, args);
  run<F, Words, 64>(context, args);
}

template <class F>
void run_words(const device::Context& context, const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  if (chunk_words(first.spec, first.cols) == 4) return run_columns<F, 4>(context, args);
  run_columns<F, 2>(context, args);
}

}  // namespace

bool tile_linears(const device::Context& context, const LinearsArgs& args) {
  if (!suits(context, args)) return false;
  if (args.parts.front().weight->spec.id == FormatId::int4) {
    run_words<format::Int4>(context, args);
  } else {
    run_words<format::Nf4>(context, args);
  }
  const bool rounded = levels_of(args.activations).on;
  for (const LinearPart& part : args.parts) {
    count_strategy(context, "tiles", *part.weight, part.calls);
    if (rounded) count_activations(context, "tiles", args.activations.format, part.calls);
  }
  return true;
}

}  // namespace qsweep::kernels::cuda
