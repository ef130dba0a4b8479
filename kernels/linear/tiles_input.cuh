// The pass before linear/tiles: rows of x, normed, in the order in which the tensor cores take
// them.
#pragma once

#include "kernels/activations/activations_cuda.cuh"
#include "kernels/cuda/quads.cuh"
#include "kernels/linear/stream_codes.cuh"
#include "kernels/linear/tiles.cuh"
#include "kernels/linear/tiles_codes.cuh"

namespace qsweep::kernels::cuda {

// Of a row of input in bf16, in shared memory.
constexpr int64_t most_row_bytes = 200 << 10;
constexpr int most_arrange_threads = 512;

// Threads of a block: sixteen columns each, while there are enough. With twice as many the blocks
// of 16 rows would fill more multiprocessors than linear/tiles leaves free, and its own last blocks
// would start late there.
inline dim3 arrange_threads(int64_t cols) {
  const int64_t warps = tiles(cols, 16 * warp_size), most = most_arrange_threads / warp_size;
  return dim3(static_cast<unsigned>(std::min(warps, most) * warp_size));
}

struct Arrange {
  const float* x;
  const float* norm_weight;
  float eps;
  int rows, cols, rows_a_part;
  Levels levels;
  uint8_t* out;
  float* powers;  // [rows] what sums are to be multiplied by
};

// One row in a block's hands. What a thread reads first it keeps.
struct ArrangedRow {
  static constexpr int held = 2;  // eights of columns
  const Arrange& p;
  const float* x;
  uint16_t* values;  // [cols] bf16, shared
  const int first = static_cast<int>(threadIdx.x), apart = static_cast<int>(blockDim.x);
  const int eights = p.cols / 8;

  // use(eight, value) for all of this thread's eights; value is x there.
  template <class Use>
  __device__ void for_eights(const float (&kept)[held][8], Use use) const {
#pragma unroll
    for (int k = 0; k < held; ++k) {
      if (first + k * apart < eights) use(first + k * apart, kept[k]);
    }
    for (int i = first + held * apart; i < eights; i += apart) {
      float value[8];
      load(x, i, value);
      use(i, value);
    }
  }
  __device__ static void load(const float* from, int eight, float (&value)[8]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float4 quad = reinterpret_cast<const float4*>(from)[2 * eight + half];
      value[4 * half] = quad.x;
      value[4 * half + 1] = quad.y;
      value[4 * half + 2] = quad.z;
      value[4 * half + 3] = quad.w;
    }
  }

  // Leaves the row in `values`; its largest magnitude, in every thread.
  __device__ float read() const {
    __shared__ float squares_of[most_arrange_threads / warp_size];
    __shared__ float largest_of[most_arrange_threads / warp_size];
    float kept[held][8];
#pragma unroll
    for (int k = 0; k < held; ++k) {
      if (first + k * apart < eights) load(x, first + k * apart, kept[k]);
    }
    float scale = 1;
    if (p.norm_weight != nullptr) {
      float squares = 0;
      for_eights(kept, [&](int, const float(&value)[8]) {
#pragma unroll
        for (const float v : value) squares += v * v;
      });
      squares = over_warps(squares, squares_of, Add{});
      scale = 1.0f / sqrtf(squares / static_cast<float>(p.cols) + p.eps);
    }
    float largest = 0;
    for_eights(kept,
               [&](int eight, const float(&value)[8]) { store(eight, value, scale, largest); });
    return over_warps(largest, largest_of, Larger{});
  }
  // As bf16, normed with the roundings of rmsnorm.hpp.
  __device__ void store(int eight, const float (&value)[8], float scale, float& largest) const {
    float w[8];
    const bool normed = p.norm_weight != nullptr;
    if (normed) load(p.norm_weight, eight, w);
    uint32_t pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float v[2] = {value[2 * i], value[2 * i + 1]};
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        if (normed) v[k] = stored(device::Compute::bf16, v[k] * scale) * w[2 * i + k];
      }
      pairs[i] = bf16_pair(v[0], v[1]);
      largest = fmaxf(largest, fabsf(__uint_as_float(pairs[i] << 16)));
      largest = fmaxf(largest, fabsf(__uint_as_float(pairs[i] & 0xFFFF0000u)));
    }
    store_shared(shared_address(values + 8 * eight), pairs);
  }
  // The same value in every thread; what threads stored in shared memory before is seen then.
  template <class Join>
  __device__ static float over_warps(float value, float* scratch, Join join) {
    value = over_warp(value, join);
    if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = value;
    __syncthreads();
    value = scratch[0];
    for (unsigned w = 1; w < blockDim.x / warp_size; ++w) value = join(value, scratch[w]);
    return value;
  }
};

// Row blockIdx.x of x, normed, as fp16 times a power of two (as in stream_input.cuh) or as levels,
// in the right operands of the products: [part][slab][product][eight rows][half][row][eight
// elements]. Element k of a product is what lane t = k / 2 % 4 holds of its own elements 4 product
// + k % 2 (+ 2 in the second half). Rows that are not there are zeros.
template <class F, int Words>
__global__ void __launch_bounds__(most_arrange_threads) arrange(const __grid_constant__ Arrange p) {
  using Shape = TileShape<Words>;
  using Order = typename TileCodes<F>::Order;
  auto* values = shared_memory<uint16_t>();
  let_next_start();  // which has codes to ask for meanwhile
  const int row = static_cast<int>(blockIdx.x);
  const bool real = row < p.rows;
  const int part = row / p.rows_a_part, of_part = row % p.rows_a_part;
  uint8_t* const out =
      p.out + int64_t{part} * (p.cols / Shape::slab_columns) * Shape::input_bytes(p.rows_a_part) +
      of_part / 8 * 256 + of_part % 8 * 16;
  wait_for_previous();
  float power = 1, step = 1;
  if (real) {
    const float largest = ArrangedRow{p, p.x + int64_t{row} * p.cols, values}.read();
    if (p.levels.on) {
      step = p.levels.scale(largest);
    } else {
      power = power_for_fp16(largest);
    }
    if (threadIdx.x == 0) p.powers[row] = step / power;
  }
  constexpr int eights = Shape::slab_columns / 8;
  for (int i = static_cast<int>(threadIdx.x); i < p.cols / 8; i += static_cast<int>(blockDim.x)) {
    const int slab = i / eights, product = i % eights / 2, half = i % 2;
    uint32_t pair[4] = {};
#pragma unroll
    for (int t = 0; t < 4; ++t) {
      if (!real) break;
      float v[2];
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int element = 4 * product + 2 * half + k;
        const int column = slab * Shape::slab_columns + t * Shape::elements + element / 8 * 8 +
                           Order::column(element % 8);
        v[k] = bf16_to_float(values[column]);
        v[k] = p.levels.on ? p.levels.level(v[k], step) : v[k] * power;
      }
      pair[t] = fp16_pair(v[0], v[1]);
    }
    uint8_t* to = out + int64_t{slab} * Shape::input_bytes(p.rows_a_part) +
                  product * (p.rows_a_part * 32) + half * 128;
    *reinterpret_cast<uint4*>(to) = make_uint4(pair[0], pair[1], pair[2], pair[3]);
  }
}

}  // namespace qsweep::kernels::cuda
