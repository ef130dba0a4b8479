// y = softmax(q K^T / sqrt(D)) V for one head of one row over a stretch of a cache [kv_heads,
// capacity, D], and that row's own key and value into the cache.
//
// A few lanes make a team that holds one position, as many elements each. Scores and sums in fp32,
// the denominator too; the probabilities are not rounded. A stretch leaves (largest score, sum of
// exponentials, weighted values), which whoever joins the stretches of a head adds in order.
#pragma once

#include "kernels/attend/attend.hpp"
#include "kernels/common.hpp"
#include "kernels/cuda/cache.cuh"
#include "kernels/heads/turn.cuh"

namespace qsweep::kernels::cuda {

// D is a multiple of this where teams can do it: of a lane's vectors, one for each lane.
constexpr int64_t team_columns = 32;

// What a stretch needs of shared memory, D elements each.
template <class T, int Threads>
struct AttendMemory {
  static constexpr int warps = Threads / warp_size;
  float* q;         // turned
  float* weighted;  // of the stretch
  float* lines;     // [warps, D]
  T* key;           // of the new row
  T* value;

  __device__ AttendMemory(float* memory, int64_t dim) {
    q = memory;
    weighted = q + dim;
    lines = weighted + dim;
    key = reinterpret_cast<T*>(lines + warps * dim);
    value = key + dim;
  }
};
template <class T, int Threads>
__host__ __device__ constexpr size_t attend_bytes(int64_t dim) {
  return static_cast<size_t>(dim) * ((2 + Threads / warp_size) * sizeof(float) + 2 * sizeof(T));
}

// One head's cache, with the new row from shared memory.
template <class T>
struct CacheRows {
  const T* cached;
  const T* fresh;
  int64_t dim, last;
  __device__ const T* operator()(int64_t t) const { return t == last ? fresh : cached + t * dim; }
};

// Stretch `index` of the `count` of head `head`.
template <class T, int Threads>
struct Stretch {
  using Memory = AttendMemory<T, Threads>;
  const AttendArgs& args;
  int64_t head, dim, kv_head, last, begin, end;  // positions [begin, end); the new row is at last

  __device__ Stretch(const AttendArgs& a, int64_t query_head, int64_t index, int64_t count)
      : args(a), head(query_head), dim(a.heads.keys.head_dim) {
    const HeadsArgs& heads = args.heads;
    kv_head = head / (heads.heads / heads.keys.kv_heads);
    last = heads.position != nullptr ? *heads.position : heads.first;
    last = min(last, heads.keys.capacity - 1);
    const int64_t each = tiles(last + 1, count);
    begin = min(index * each, last + 1);
    end = min(begin + each, last + 1);
  }
  __device__ T* head_of(const CacheView& cache) const {
    return static_cast<T*>(cache.data) + kv_head * cache.capacity * dim;
  }
  __device__ bool has_last() const { return begin <= last && last < end; }

  // By `count` threads, of which this is the `mine`th.
  __device__ void prefetch(int mine, int count) const {
    constexpr int line = 128 / sizeof(T);
    const T* keys = head_of(args.heads.keys);
    const T* values = head_of(args.heads.values);
    for (int64_t i = begin * dim + mine * line; i < end * dim; i += count * line) {
      prefetch_line(keys + i);
      prefetch_line(values + i);
    }
  }

  // q, and where the stretch has it the new row, which the first query head of a group also puts
  // into the cache. A warp each.
  __device__ void make_ready(device::Compute compute, const Memory& memory) const {
    const HeadsArgs& heads = args.heads;
    const int warp = threadIdx.x / warp_size;
    const bool keeps = head % (heads.heads / heads.keys.kv_heads) == 0;
    if (warp == 0) {
      turn_head(compute, heads.qkv + head * dim, dim, heads.q_norm, heads.norm_eps, heads.cos,
                heads.sin, [&](int64_t i, float value) { memory.q[i] = value; });
    } else if (warp == 1 && has_last()) {
      T* kept = head_of(heads.keys) + last * dim;
      turn_head(compute, heads.qkv + (heads.heads + kv_head) * dim, dim, heads.k_norm,
                heads.norm_eps, heads.cos, heads.sin, [&](int64_t i, float value) {
                  put(memory.key + i, value);
                  if (keeps) put(kept + i, value);
                });
    } else if (warp == 2 && has_last()) {
      const float* v = heads.qkv + (heads.heads + heads.keys.kv_heads + kv_head) * dim;
      T* kept = head_of(heads.values) + last * dim;
      for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) {
        put(memory.value + i, v[i]);
        if (keeps) put(kept + i, v[i]);
      }
    }
  }
};

// Up to `Pieces` vectors for each lane of a team: vectors of 8 in teams of 4 lanes, or of 4 in
// teams of 8, which takes half as many registers.
template <class T, int Pieces, int Threads, int Width>
struct ByTeams {
  static constexpr int team = team_columns / Width;
  using Memory = AttendMemory<T, Threads>;
  static constexpr int teams = Threads / team, warps = Threads / warp_size;
  float q[Pieces][Width];
  float sums[Pieces][Width] = {};
  int used = 0;  // of the pieces
  const int lane = threadIdx.x % team, group = threadIdx.x / team;

  __device__ void take(const Memory& memory, int64_t dim) {
    used = static_cast<int>(dim / team_columns);
#pragma unroll
    for (int p = 0; p < Pieces; ++p)
      if (p < used) load_vector(memory.q + (p * team + lane) * Width, q[p]);
  }

  // scores [Threads] of positions begin + 0.., -inf from `count` on.
  __device__ void score(const CacheRows<T>& keys, int64_t begin, int count, float scale,
                        float* scores) {
#pragma unroll 4
    for (int t = group; t < Threads; t += teams) {
      float sum = 0;
      if (t < count) {
        const T* key = keys(begin + t);
#pragma unroll
        for (int p = 0; p < Pieces; ++p) {
          if (p >= used) break;
          float k[Width];
          load_vector(key + (p * team + lane) * Width, k);
#pragma unroll
          for (int i = 0; i < Width; ++i) sum += q[p][i] * k[i];
        }
      }
      for (int step = 1; step < team; step *= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
      if (lane == 0) scores[t] = t < count ? sum * scale : -INFINITY;
    }
  }

  __device__ void weigh(const CacheRows<T>& values, int64_t begin, int count, float factor,
                        const float* weights) {
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
#pragma unroll
      for (int i = 0; i < Width; ++i) sums[p][i] *= factor;
    }
#pragma unroll 4
    for (int t = group; t < Threads; t += teams) {
      if (t >= count) break;
      const T* value = values(begin + t);
#pragma unroll
      for (int p = 0; p < Pieces; ++p) {
        if (p >= used) break;
        float v[Width];
        load_vector(value + (p * team + lane) * Width, v);
#pragma unroll
        for (int i = 0; i < Width; ++i) sums[p][i] += weights[t] * v[i];
      }
    }
  }

  // Sums of all teams -> memory.weighted.
  __device__ void leave(const Memory& memory, int64_t dim) {
    const int warp = threadIdx.x / warp_size;
#pragma unroll
    for (int p = 0; p < Pieces; ++p) {
      if (p >= used) break;
#pragma unroll
      for (int i = 0; i < Width; ++i) {
        float sum = sums[p][i];
        for (int step = team; step < warp_size; step *= 2) {
          sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
        }
        if (threadIdx.x % warp_size < team) {
          memory.lines[warp * dim + (p * team + lane) * Width + i] = sum;
        }
      }
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < dim; i += Threads) {
      float sum = 0;
      for (int w = 0; w < warps; ++w) sum += memory.lines[w * dim + i];
      memory.weighted[i] = sum;
    }
  }
};

// Any D: a dot product a warp, a column a thread.
template <class T, int Threads>
struct ByColumns {
  using Memory = AttendMemory<T, Threads>;
  static constexpr int warps = Threads / warp_size;
  const float* q = nullptr;
  float* weighted = nullptr;
  int64_t dim = 0;

  __device__ void take(const Memory& memory, int64_t d) {
    q = memory.q;
    weighted = memory.weighted;
    dim = d;
    for (int64_t i = threadIdx.x; i < dim; i += Threads) weighted[i] = 0;
  }
  __device__ void score(const CacheRows<T>& keys, int64_t begin, int count, float scale,
                        float* scores) {
    for (int t = threadIdx.x / warp_size; t < Threads; t += warps) {
      float sum = 0;
      if (t < count) {
        const T* key = keys(begin + t);
        for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) {
          sum += q[i] * value_of(key[i]);
        }
      }
      sum = over_warp(sum, Add{});
      if (threadIdx.x % warp_size == 0) scores[t] = t < count ? sum * scale : -INFINITY;
    }
  }
  __device__ void weigh(const CacheRows<T>& values, int64_t begin, int count, float factor,
                        const float* weights) {
    for (int64_t i = threadIdx.x; i < dim; i += Threads) {
      float sum = weighted[i] * factor;
      for (int t = 0; t < count; ++t) sum += weights[t] * value_of(values(begin + t)[i]);
      weighted[i] = sum;
    }
  }
  __device__ void leave(const Memory&, int64_t) {}
};

struct Softmax {
  float largest = -INFINITY, sum = 0;
};

// Everything of a stretch; memory.weighted is written when all threads have met the next barrier.
template <class T, int Threads, class Products>
__device__ Softmax attend_stretch(device::Compute compute, const Stretch<T, Threads>& stretch,
                                  const AttendMemory<T, Threads>& memory, float* scores,
                                  float* scratch) {
  const int64_t dim = stretch.dim;
  const AttendArgs& args = stretch.args;
  stretch.make_ready(compute, memory);
  __syncthreads();
  Products products;
  products.take(memory, dim);
  const CacheRows<T> keys{stretch.head_of(args.heads.keys), memory.key, dim, stretch.last};
  const CacheRows<T> values{stretch.head_of(args.heads.values), memory.value, dim, stretch.last};
  const float scale = 1.0f / sqrtf(static_cast<float>(dim));
  Softmax all;
  for (int64_t begin = stretch.begin; begin < stretch.end; begin += Threads) {
    const int count = static_cast<int>(min(stretch.end - begin, int64_t{Threads}));
    products.score(keys, begin, count, scale, scores);
    __syncthreads();
    const float mine = scores[threadIdx.x];
    const float largest = fmaxf(all.largest, over_block(mine, scratch, Larger{}));
    const float weight = expf(mine - largest), factor = expf(all.largest - largest);
    scores[threadIdx.x] = weight;
    // Its barriers publish the weights.
    all.sum = all.sum * factor + over_block(weight, scratch, Add{});
    all.largest = largest;
    products.weigh(values, begin, count, factor, scores);
    __syncthreads();
  }
  products.leave(memory, dim);
  return all;
}

}  // namespace qsweep::kernels::cuda
