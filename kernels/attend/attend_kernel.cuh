// y = softmax(q K^T / sqrt(D)) V for one head of one row over a stretch of a cache [kv_heads,
// capacity, D], and that row's own key and value into the cache.
//
// Scores and sums in fp32, the denominator too; the probabilities are not rounded. A stretch leaves
// (largest score, sum of exponentials, weighted values), which the first block of the head's
// cluster joins in order. What any D needs is here; the quick way of the usual ones is
// attend_teams.cuh.
#pragma once

#include "kernels/attend/attend.hpp"
#include "kernels/common.hpp"
#include "kernels/cuda/cache.cuh"
#include "kernels/heads/turn.cuh"

namespace qsweep::kernels::cuda {

struct Softmax {
  float largest = -INFINITY, sum = 0;
};

// What a stretch needs of shared memory, D elements each.
template <class T>
struct AttendMemory {
  float* q;         // turned
  float* weighted;  // of the stretch
  T* key;           // of the new row
  T* value;

  __device__ AttendMemory(float* memory, int64_t dim) {
    q = memory;
    weighted = q + dim;
    key = reinterpret_cast<T*>(weighted + dim);
    value = key + dim;
  }
};
template <class T>
constexpr size_t attend_bytes(int64_t dim) {
  return static_cast<size_t>(dim) * (2 * sizeof(float) + 2 * sizeof(T));
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

  // q, and where the stretch has it the new row, which the first query head of a group also puts
  // into the cache. A warp each.
  __device__ void make_ready(device::Compute compute, float* q, T* new_key, T* new_value) const {
    const HeadsArgs& heads = args.heads;
    const int warp = threadIdx.x / warp_size;
    const bool keeps = head % (heads.heads / heads.keys.kv_heads) == 0;
    if (warp == 0) {
      turn_head(compute, heads.qkv + head * dim, dim, heads.q_norm, heads.norm_eps, heads.cos,
                heads.sin, [&](int64_t i, float value) { q[i] = value; });
    } else if (warp == 1 && has_last()) {
      T* kept = head_of(heads.keys) + last * dim;
      turn_head(compute, heads.qkv + (heads.heads + kv_head) * dim, dim, heads.k_norm,
                heads.norm_eps, heads.cos, heads.sin, [&](int64_t i, float value) {
                  put(new_key + i, value);
                  if (keeps) put(kept + i, value);
                });
    } else if (warp == 2 && has_last()) {
      const float* v = heads.qkv + (heads.heads + heads.keys.kv_heads + kv_head) * dim;
      T* kept = head_of(heads.values) + last * dim;
      for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) {
        put(new_value + i, v[i]);
        if (keeps) put(kept + i, v[i]);
      }
    }
  }
};

// Any D: a dot product a warp, a column a thread.
template <class T, int Threads>
struct ByColumns {
  static constexpr int warps = Threads / warp_size;
  const float* q;
  float* weighted;
  int64_t dim;

  __device__ ByColumns(const AttendMemory<T>& memory, int64_t d)
      : q(memory.q), weighted(memory.weighted), dim(d) {
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
};

// Everything of a stretch; memory.weighted is written when all threads have met the next barrier.
template <class T, int Threads>
__device__ Softmax attend_stretch(device::Compute compute, const Stretch<T, Threads>& stretch,
                                  const AttendMemory<T>& memory, float* scores, float* scratch) {
  const int64_t dim = stretch.dim;
  const AttendArgs& args = stretch.args;
  stretch.make_ready(compute, memory.q, memory.key, memory.value);
  __syncthreads();
  ByColumns<T, Threads> products(memory, dim);
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
  return all;
}

}  // namespace qsweep::kernels::cuda
