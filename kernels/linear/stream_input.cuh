// How linear/stream lays out its input in shared memory: in the order in which lanes take it, as
// bf16 beside bf16 weights and else as fp16. fp16 has more digits and less range, so each row is
// multiplied by a power of two that brings its largest element near the top of that range; sums are
// divided by it. What lies 2^38 or more below the largest element is cut off. Where activations are
// rounded to levels, these are staged, and sums are multiplied by their scale.
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
  // The same in all multiplying threads; `scratch` has one for each warp, which nobody reads any
  // more.
  __device__ void join_all(Magnitude* scratch) {
    join_warp();
    if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = *this;
    sync_threads(multiplier_threads);
    *this = {};
#pragma unroll
    for (int i = 0; i < multipliers; ++i) add(scratch[i]);
  }
  // The same in all lanes of `warps` neighbouring warps, which begin at a multiple of their number.
  // Every multiplying thread takes part.
  __device__ void join_some(int warps, Magnitude* scratch) {
    join_warp();
    if (warps == 1) return;
    const int warp = static_cast<int>(threadIdx.x) / warp_size;
    sync_threads(multiplier_threads);  // somebody may still read what was joined before
    if (threadIdx.x % warp_size == 0) scratch[warp] = *this;
    sync_threads(multiplier_threads);
    const Magnitude* const ours = scratch + warp / warps * warps;
    *this = {};
    for (int i = 0; i < warps; ++i) add(ours[i]);
  }

 private:
  __device__ void add(const Magnitude& other) {
    squares += other.squares;
    largest = fmaxf(largest, other.largest);
  }
};

// What a row is multiplied by: for the norm, and to make the most of fp16; of levels, their scale.
struct RowScale {
  float factor = 1, power = 1, step = 1;

  // What sums are multiplied by, but for the codes' unit.
  __device__ float of_sums() const { return step / power; }
};

__device__ inline RowScale scale_of(const Stream& p, const Magnitude& m, bool half) {
  RowScale scale;
  if (p.norm_weight != nullptr) {
    scale.factor = 1.0f / sqrtf(m.squares / static_cast<float>(p.cols) + p.norm_eps);
  }
  if (half && !p.levels.on) scale.power = power_for_fp16(m.largest * scale.factor);
  return scale;
}

// x normed, as bf16 holds it.
__device__ inline void norm_eight(float (&x)[8], const float (&w)[8], float factor) {
  constexpr auto bf16 = device::Compute::bf16;
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = stored(bf16, w[i] * stored(bf16, x[i] * factor));
}

// Eight columns of a row at their places: `pair(a, b, i)` makes a word of the elements i and i + 1
// of a vector.
template <class Order, class Pair>
__device__ void put_eight(const float (&value)[8], int column, uint32_t* line, Pair pair) {
  constexpr int width = 4 * Order::vector;
#pragma unroll
  for (int part = 0; part < 8; part += width) {
    uint32_t word[width / 2];
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      word[i / 2] = pair(value[part + Order::column(i)], value[part + Order::column(i + 1)], i);
    }
    store_shared(shared_address(line + Order::place(column + part) / 2), word);
  }
}
// What put_eight() left as bf16.
template <class Order>
__device__ void take_eight(const uint32_t* line, int column, float (&value)[8]) {
  constexpr int width = 4 * Order::vector;
#pragma unroll
  for (int part = 0; part < 8; part += width) {
    uint32_t word[width / 2];
    load_shared(shared_address(line + Order::place(column + part) / 2), word);
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      value[part + Order::column(i)] = __uint_as_float(word[i / 2] << 16);
      value[part + Order::column(i + 1)] = __uint_as_float(word[i / 2] & 0xFFFF0000u);
    }
  }
}

// Eight columns, normed, as the products take them; returns their sum.
template <class Order>
__device__ float finish_eight(const float (&value)[8], int column, uint32_t* line) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum += value[i];
  put_eight<Order>(value, column, line, [](float a, float b, int i) {
    a *= Order::weight(i);
    b *= Order::weight(i + 1);
    return Order::half ? fp16_pair(a, b) : bf16_pair(a, b);
  });
  return sum;
}

// One row of up to kept_columns without levels: read once, with everything under way at the same
// time.
template <class Order>
__device__ void stage_row(const Stream& p, unsigned char* staged, float* powers, Magnitude* scratch,
                          const SlabSums& slab_sums) {
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
  wait_for_previous();
  for_mine([&](int v, int column) { load_vector(p.x + column, x[v]); });
  RowScale scale;
  if (normed || Order::half) {
    Magnitude m;
    for_mine([&](int v, int) { m.add(x[v], w[v], normed); });
    m.join_all(scratch);
    scale = scale_of(p, m, Order::half);
  }
  if (normed) for_mine([&](int v, int) { norm_eight(x[v], w[v], scale.factor); });
#pragma unroll
  for (int v = 0; v < input_vectors; ++v) {
    const int column = (v * multiplier_threads + static_cast<int>(threadIdx.x)) * 8;
    float sum = 0;
    if (column < cols) {
#pragma unroll
      for (float& value : x[v]) value *= scale.power;
      sum = finish_eight<Order>(x[v], column, reinterpret_cast<uint32_t*>(staged));
    }
    slab_sums.keep<Order>(sum, column < cols, column, 0);
  }
  if (threadIdx.x == 0) powers[0] = Order::unit * scale.of_sums();
}

// Any number of rows of any length: each has a few warps to itself. Its values wait at their places
// as bf16, which is what they are, until the row's magnitude is known.
template <class Order>
struct RowsStaging {
  static constexpr int at_once = 4;  // vectors of a lane under way at the same time

  const Stream& p;
  const bool normed;
  const int warps, row;   // of this row, which is this thread's
  const int first, step;  // vectors of this thread, in columns
  uint32_t* const line;

  __device__ RowsStaging(const Stream& stream, unsigned char* staged)
      : p(stream),
        normed(p.norm_weight != nullptr),
        warps(warps_a_row(p.rows)),
        row(static_cast<int>(threadIdx.x) / warp_size / warps),
        first(static_cast<int>(threadIdx.x) % (warps * warp_size) * 8),
        step(warps * warp_size * 8),
        line(reinterpret_cast<uint32_t*>(staged + row * staged_bytes(p.cols))) {}

  // The largest power of two that gives every row as many.
  __device__ static int warps_a_row(int rows) {
    int n = multipliers;
    while (n * rows > multipliers) n /= 2;
    return n;
  }

  // load(k, column) for some vectors, then use(k, column, real) for all lanes of the same ones.
  template <class Load, class Use>
  __device__ void for_mine(Load load, Use use) const {
    if (row >= p.rows) return;
    const int lane_columns = static_cast<int>(threadIdx.x) % warp_size * 8;
    for (int from = first; from - lane_columns < p.cols; from += at_once * step) {
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        if (from + k * step < p.cols) load(k, from + k * step);
      }
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        const int column = from + k * step;
        if (column - lane_columns < p.cols) use(k, column, column < p.cols);
      }
    }
  }

  // Reads the row; returns its magnitude.
  __device__ Magnitude read(Magnitude* scratch) const {
    float x[at_once][8], w[at_once][8];
    Magnitude m;
    const auto load = [&](int k, int column) {
      load_vector(p.x + int64_t{row} * p.cols + column, x[k]);
      if (normed) load_vector(p.norm_weight + column, w[k]);
    };
    for_mine(load, [&](int k, int column, bool real) {
      if (!real) return;
      m.add(x[k], w[k], normed);
      put_eight<Order>(x[k], column, line, [](float a, float b, int) { return bf16_pair(a, b); });
    });
    m.join_some(warps, scratch);
    return m;
  }

  // Norms the waiting values, and returns the magnitude of what they are then.
  __device__ Magnitude norm(float factor, Magnitude* scratch) const {
    float w[at_once][8];
    Magnitude m;
    const auto load = [&](int k, int column) {
      if (normed) load_vector(p.norm_weight + column, w[k]);
    };
    for_mine(load, [&](int k, int column, bool real) {
      if (!real) return;
      float x[8];
      take_eight<Order>(line, column, x);
      if (normed) norm_eight(x, w[k], factor);
      m.add(x, x, false);
      put_eight<Order>(x, column, line, [](float a, float b, int) { return bf16_pair(a, b); });
    });
    m.join_some(warps, scratch);
    return m;
  }

  __device__ void finish(const RowScale& scale, bool norm, const SlabSums& slab_sums) const {
    float w[at_once][8];
    const auto load = [&](int k, int column) {
      if (norm) load_vector(p.norm_weight + column, w[k]);
    };
    for_mine(load, [&](int k, int column, bool real) {
      float sum = 0;
      if (real) {
        float x[8];
        take_eight<Order>(line, column, x);
        if (norm) norm_eight(x, w[k], scale.factor);
        for (float& value : x) {
          value = p.levels.on ? p.levels.level(value, scale.step) : value * scale.power;
        }
        sum = finish_eight<Order>(x, column, line);
      }
      slab_sums.keep<Order>(sum, real, column, row);
    });
  }

  __device__ void run(float* powers, Magnitude* scratch, const SlabSums& slab_sums) const {
    RowScale scale = scale_of(p, read(scratch), Order::half);
    if (p.levels.on) scale.step = p.levels.scale(norm(scale.factor, scratch).largest);
    if (normed || Order::half || p.levels.on) finish(scale, normed && !p.levels.on, slab_sums);
    if (row < p.rows && threadIdx.x % (warps * warp_size) == 0) {
      powers[row] = Order::unit * scale.of_sums();
    }
  }
};

}  // namespace qsweep::kernels::cuda
