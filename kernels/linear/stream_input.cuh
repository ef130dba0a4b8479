// How linear/stream lays out its input in shared memory: in the order in which lanes take it, as
// bf16 beside bf16 weights and else as fp16. fp16 has more digits and less range, so each row is
// multiplied by a power of two that brings its largest element near the top of that range; sums are
// divided by it. What lies 2^38 or more below the largest element is cut off.
#pragma once

#include "kernels/cuda/cache.cuh"
#include "kernels/linear/stream.cuh"
#include "kernels/linear/stream_codes.cuh"

namespace qsweep::kernels::cuda {

// Where the input's columns stand in its staged row. Four codes of a lane make a step; a lane takes
// `vector` steps of a chunk at once, and those of a quad's four lanes stand side by side.
template <class Code, int Elements>
struct StagedOrder {
  static constexpr bool half = Code::half, offset = Code::offset;
  static constexpr int slab_columns = 4 * Elements, slab_lanes = slab_columns / 8;
  static constexpr int steps = Elements / 4, vector = steps < 2 ? steps : 2;
  // Place of a whole vector that begins at this column.
  __device__ static int place(int column) {
    const int chunk = column / Elements, v = column % Elements / (4 * vector);
    return (chunk / 4 * (steps / vector) + v) * (16 * vector) + chunk % 4 * (4 * vector);
  }
  // The column of a vector's element i, from where the vector begins.
  __device__ static constexpr int column(int i) { return vector == 2 ? Code::Order::column(i) : i; }
  __device__ static constexpr float weight(int i) { return vector == 2 ? Code::weight(i) : 1.0f; }
  // What the sums are to be multiplied by.
  static constexpr float unit = Code::unit;
};

// Sums of the staged input over each slab, over `unit`: [slab][columns of the tiles].
struct SlabSums {
  float* sums;
  int width;

  // `sum` of eight columns from `column` on of row n; every lane of the warp takes part, `real` or
  // not.
  template <class Order>
  __device__ void keep(float sum, bool real, int column, int n) const {
    if constexpr (Order::offset) {
      for (int step = 1; step < Order::slab_lanes; step *= 2) {
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
      }
      if (real && column % Order::slab_columns == 0) {
        sums[column / Order::slab_columns * width + n] = sum / Order::unit;
      }
    }
  }
};

struct Magnitude {
  float squares = 0, largest = 0;

  // Of x, or of w * x where there is a norm.
  __device__ void add(const float (&x)[8], const float (&w)[8], bool normed) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      squares += x[i] * x[i];
      largest = fmaxf(largest, fabsf(normed ? x[i] * w[i] : x[i]));
    }
  }
  __device__ void join_warp() {
    squares = over_warp(squares, Add{});
    largest = over_warp(largest, Larger{});
  }
  // The same in all multiplying threads. `scratch` has one for each warp.
  __device__ void join_warps(Magnitude* scratch) {
    join_warp();
    if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = *this;
    sync_threads(multiplier_threads);
    *this = {};
#pragma unroll
    for (int i = 0; i < multipliers; ++i) {
      squares += scratch[i].squares;
      largest = fmaxf(largest, scratch[i].largest);
    }
  }
};

// What a row is multiplied by: for the norm, and to make the most of fp16.
struct RowScale {
  float factor = 1, power = 1;
};

// The power of two brings `largest` to [2^14, 2^15); 1 where that is no number.
__device__ inline RowScale scale_of(const Stream& p, const Magnitude& m, bool half) {
  RowScale scale;
  if (p.norm_weight != nullptr) {
    scale.factor = 1.0f / sqrtf(m.squares / static_cast<float>(p.cols) + p.norm_eps);
  }
  const float largest = m.largest * scale.factor;
  if (half && largest > 0x1p-100f && largest < 0x1p100f) {
    const uint32_t exponent = __float_as_uint(largest) >> 23;  // biased by 127
    scale.power = __uint_as_float((127 + 14 + 127 - exponent) << 23);
  }
  return scale;
}

// Eight columns of a row to their places; returns their sum.
template <class Order>
__device__ float store_eight(const float (&x)[8], const float (&w)[8], bool normed, RowScale scale,
                             int column, uint32_t* line) {
  constexpr auto bf16 = device::Compute::bf16;
  constexpr int width = 4 * Order::vector;
  float value[8], sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    value[i] = stored(bf16, normed ? w[i] * stored(bf16, x[i] * scale.factor) : x[i]);
    value[i] *= scale.power;
    sum += value[i];
  }
#pragma unroll
  for (int part = 0; part < 8; part += width) {
    uint32_t* to = line + Order::place(column + part) / 2;
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      const float a = value[part + Order::column(i)] * Order::weight(i);
      const float b = value[part + Order::column(i + 1)] * Order::weight(i + 1);
      to[i / 2] = Order::half ? fp16_pair(a, b) : bf16_pair(a, b);
    }
  }
  return sum;
}

// One row of up to kept_columns: read once, with everything under way at the same time.
template <class Order, class Ready>
__device__ void stage_row(const Stream& p, unsigned char* staged, float* powers, Magnitude* scratch,
                          const SlabSums& slab_sums, Ready ready) {
  float x[input_vectors][8], w[input_vectors][8];
  const int cols = p.cols;
  const bool normed = p.norm_weight != nullptr;
  const auto for_mine = [&](auto use) {
#pragma unroll
    for (int v = 0; v < input_vectors; ++v) {
      const int column = (v * multiplier_threads + static_cast<int>(threadIdx.x)) * 8;
      if (column < cols) use(v, column);
    }
  };
  if (normed) for_mine([&](int v, int column) { load_vector(p.norm_weight + column, w[v]); });
  ready();
  for_mine([&](int v, int column) { load_vector(p.x + column, x[v]); });
  RowScale scale;
  if (normed || Order::half) {
    Magnitude m;
    for_mine([&](int v, int) { m.add(x[v], w[v], normed); });
    m.join_warps(scratch);
    scale = scale_of(p, m, Order::half);
  }
#pragma unroll
  for (int v = 0; v < input_vectors; ++v) {
    const int column = (v * multiplier_threads + static_cast<int>(threadIdx.x)) * 8;
    float sum = 0;
    if (column < cols) {
      sum = store_eight<Order>(x[v], w[v], normed, scale, column,
                               reinterpret_cast<uint32_t*>(staged));
    }
    slab_sums.keep<Order>(sum, column < cols, column, 0);
  }
  if (threadIdx.x == 0) powers[0] = Order::unit / scale.power;
}

// Any number of rows of any length, read twice: a warp measures a row (all warps, where there is
// but one), then all threads store.
template <class Order>
__device__ void stage_rows(const Stream& p, unsigned char* staged, float* powers, RowScale* scales,
                           Magnitude* scratch, const SlabSums& slab_sums) {
  const int cols = p.cols, thread = static_cast<int>(threadIdx.x);
  const bool normed = p.norm_weight != nullptr, together = p.rows == 1;
  const auto for_columns = [&](int64_t n, int first, int step, auto use) {
    for (int column = first * 8; column < cols; column += step * 8) {
      float x[8], w[8];
      load_vector(p.x + n * cols + column, x);
      if (normed) load_vector(p.norm_weight + column, w);
      use(x, w, column);
    }
  };
  for (int n = together ? 0 : thread / warp_size; n < p.rows; n += multipliers) {
    Magnitude m;
    for_columns(n, together ? thread : thread % warp_size,
                together ? multiplier_threads : warp_size,
                [&](const auto& x, const auto& w, int) { m.add(x, w, normed); });
    if (together) {
      m.join_warps(scratch);
    } else {
      m.join_warp();
    }
    if (thread % (together ? multiplier_threads : warp_size) != 0) continue;
    scales[n] = scale_of(p, m, Order::half);
    powers[n] = Order::unit / scales[n].power;
  }
  sync_threads(multiplier_threads);
  for (int n = 0; n < p.rows; ++n) {
    auto* line = reinterpret_cast<uint32_t*>(staged + n * staged_bytes(cols));
    for (int from = thread / warp_size * warp_size * 8; from < cols;
         from += multiplier_threads * 8) {
      const int column = from + thread % warp_size * 8;
      float sum = 0;
      if (column < cols) {
        float x[8], w[8];
        load_vector(p.x + int64_t{n} * cols + column, x);
        if (normed) load_vector(p.norm_weight + column, w);
        sum = store_eight<Order>(x, w, normed, scales[n], column, line);
      }
      slab_sums.keep<Order>(sum, column < cols, column, n);
    }
  }
}

}  // namespace qsweep::kernels::cuda
