// y = softmax(q K^T / sqrt(D)) V for one row q [heads, D] over a cache [kv_heads, capacity, D].
//
// Block (head, split) takes positions [128 split, 128 (split + 1)). Four lanes make a team that
// holds one position at a time, D / 4 elements a lane, so that 32 positions are in flight. The
// block leaves (largest score, sum of exponentials, sum of weighted values); join() adds the splits
// in order. The grid is cut for the cache's capacity where the length stands in device memory;
// blocks beyond it return at once.
#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/attention/attention_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 128, team = 4, teams = threads / team;
constexpr int64_t split_length = 128;
constexpr int most_pieces = 8;  // vectors of 8 elements a lane: D up to 256

struct Split {
  AttentionArgs args;
  int64_t splits;
  float* partial;  // [heads, splits, D + 2]: weighted values, largest score, sum
};

__device__ int64_t length_of(const AttentionArgs& args) {
  return (args.position != nullptr ? *args.position : args.first) + 1;
}

// Eight consecutive elements of a cache row.
template <class T>
__device__ void load8(const T* from, float (&out)[8]) {
  if constexpr (sizeof(T) == 4) {
    for (int i = 0; i < 8; i += 4) {
      const float4 v = *reinterpret_cast<const float4*>(from + i);
      out[i] = v.x;
      out[i + 1] = v.y;
      out[i + 2] = v.z;
      out[i + 3] = v.w;
    }
  } else {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(words[i] << 16);
      out[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
    }
  }
}

// scores [split_length] of the block's positions; -inf beyond the end.
template <class T, int Pieces>
__device__ void score(const AttentionArgs& args, const T* keys, int64_t begin, int64_t n,
                      float* scores) {
  const int64_t dim = args.keys.head_dim;
  const int lane = threadIdx.x % team;
  const float scale = 1.0f / sqrtf(static_cast<float>(dim));
  const float* q = args.q + blockIdx.x * dim;
  float mine[Pieces][8];
#pragma unroll
  for (int p = 0; p < Pieces; ++p) load8(q + (p * team + lane) * 8, mine[p]);
#pragma unroll 4
  for (int t = threadIdx.x / team; t < split_length; t += teams) {
    float sum = 0;
    if (begin + t < n) {
#pragma unroll
      for (int p = 0; p < Pieces; ++p) {
        float k[8];
        load8(keys + (begin + t) * dim + (p * team + lane) * 8, k);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += mine[p][i] * k[i];
      }
    }
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
    sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
    if (lane == 0) scores[t] = begin + t < n ? sum * scale : -INFINITY;
  }
}

// Sum over the block's positions of p[t] values[t], to partial [D]; `lines` [4 warps, D] is
// scratch.
template <class T, int Pieces>
__device__ void weigh(const AttentionArgs& args, const T* values, int64_t begin, int64_t n,
                      const float* p, float* lines, float* partial) {
  const int64_t dim = args.values.head_dim;
  const int lane = threadIdx.x % team;
  float sums[Pieces][8] = {};
#pragma unroll 4
  for (int t = threadIdx.x / team; t < split_length; t += teams) {
    if (begin + t >= n) break;
#pragma unroll
    for (int piece = 0; piece < Pieces; ++piece) {
      float v[8];
      load8(values + (begin + t) * dim + (piece * team + lane) * 8, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[piece][i] += p[t] * v[i];
    }
  }
  const int warp = threadIdx.x / warp_size;
#pragma unroll
  for (int piece = 0; piece < Pieces; ++piece) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float sum = sums[piece][i];
      for (int step = team; step < warp_size; step *= 2) {
        sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
      }
      if (threadIdx.x % warp_size < team) lines[warp * dim + (piece * team + lane) * 8 + i] = sum;
    }
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < dim; i += threads) {
    float sum = 0;
    for (int w = 0; w < threads / warp_size; ++w) sum += lines[w * dim + i];
    partial[i] = sum;
  }
}

// The same for any D, a dot product a warp and a column a thread.
template <class T>
__device__ void score_any(const AttentionArgs& args, const T* keys, int64_t begin, int64_t n,
                          float* scores) {
  const int64_t dim = args.keys.head_dim;
  const float scale = 1.0f / sqrtf(static_cast<float>(dim));
  const float* q = args.q + blockIdx.x * dim;
  for (int t = threadIdx.x / warp_size; t < split_length; t += threads / warp_size) {
    float sum = 0;
    if (begin + t < n) {
      for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) {
        if constexpr (sizeof(T) == 4) {
          sum += q[i] * keys[(begin + t) * dim + i];
        } else {
          sum += q[i] * bf16_to_float(keys[(begin + t) * dim + i]);
        }
      }
    }
    sum = over_warp(sum, Add{});
    if (threadIdx.x % warp_size == 0) scores[t] = begin + t < n ? sum * scale : -INFINITY;
  }
}

template <class T>
__device__ void weigh_any(const AttentionArgs& args, const T* values, int64_t begin, int64_t n,
                          const float* p, float* partial) {
  const int64_t dim = args.values.head_dim;
  for (int64_t i = threadIdx.x; i < dim; i += threads) {
    float sum = 0;
    for (int t = 0; t < split_length && begin + t < n; ++t) {
      if constexpr (sizeof(T) == 4) {
        sum += p[t] * values[(begin + t) * dim + i];
      } else {
        sum += p[t] * bf16_to_float(values[(begin + t) * dim + i]);
      }
    }
    partial[i] = sum;
  }
}

// Pieces 0: any head dimension.
template <class T, int Pieces>
__global__ void split_kv(Split s) {
  __shared__ float scores[split_length];
  __shared__ float scratch[threads / warp_size];
  wait_for_previous();
  let_next_start();
  const AttentionArgs& args = s.args;
  const int64_t head = blockIdx.x, split = blockIdx.y, dim = args.keys.head_dim;
  const int64_t n = length_of(args), begin = split * split_length;
  if (begin >= n) return;
  const int64_t kv_head = head / (args.heads / args.keys.kv_heads);
  const T* keys = static_cast<const T*>(args.keys.data) + kv_head * args.keys.capacity * dim;
  const T* values = static_cast<const T*>(args.values.data) + kv_head * args.values.capacity * dim;
  if constexpr (Pieces > 0) {
    score<T, Pieces>(args, keys, begin, n, scores);
  } else {
    score_any<T>(args, keys, begin, n, scores);
  }
  __syncthreads();
  const float mine = scores[threadIdx.x];
  const float largest = over_block(mine, scratch, Larger{});
  const float weight = expf(mine - largest);
  scores[threadIdx.x] = weight;
  const float sum = over_block(weight, scratch, Add{});  // its barriers also publish the weights
  float* partial = s.partial + (head * s.splits + split) * (dim + 2);
  if constexpr (Pieces > 0) {
    weigh<T, Pieces>(args, values, begin, n, scores, shared_memory<float>(), partial);
  } else {
    weigh_any<T>(args, values, begin, n, scores, partial);
  }
  if (threadIdx.x == 0) {
    partial[dim] = largest;
    partial[dim + 1] = sum;
  }
}

// A block for each head.
__global__ void join(Split s, device::Compute compute) {
  wait_for_previous();
  let_next_start();
  const AttentionArgs& args = s.args;
  const int64_t dim = args.keys.head_dim, head = blockIdx.x;
  const int64_t used = tiles(length_of(args), split_length);
  const float* partial = s.partial + head * s.splits * (dim + 2);
  float largest = -INFINITY;
  for (int64_t k = 0; k < used; ++k) largest = fmaxf(largest, partial[k * (dim + 2) + dim]);
  float sum = 0;
  for (int64_t k = 0; k < used; ++k) {
    const float* line = partial + k * (dim + 2);
    sum += expf(line[dim] - largest) * line[dim + 1];
  }
  for (int64_t i = threadIdx.x; i < dim; i += threads) {
    float y = 0;
    for (int64_t k = 0; k < used; ++k) {
      const float* line = partial + k * (dim + 2);
      y += expf(line[dim] - largest) * line[i];
    }
    args.y[head * dim + i] = stored(compute, y / sum);
  }
}

static_assert(split_length == threads, "a thread for each score of a block");

template <class T>
auto kernel_for(int64_t dim, int64_t ldq) -> void (*)(Split) {
  // Vector loads: a lane's elements come in aligned eights.
  if (dim % (8 * team) != 0 || ldq % 4 != 0) return split_kv<T, 0>;
  switch (dim / (8 * team)) {
    case 1:
      return split_kv<T, 1>;
    case 2:
      return split_kv<T, 2>;
    case 3:
      return split_kv<T, 3>;
    case 4:
      return split_kv<T, 4>;
    case most_pieces:
      return split_kv<T, most_pieces>;
    default:
      return split_kv<T, 0>;
  }
}

}  // namespace

void attention_split_kv(const device::Context& context, const AttentionArgs& args) {
  const int64_t dim = args.keys.head_dim;
  const int64_t longest = args.position != nullptr ? args.keys.capacity : args.first + 1;
  const int64_t splits = tiles(longest, split_length);
  const device::Buffer partial(static_cast<size_t>(args.heads * splits * (dim + 2)) * sizeof(float),
                               device::MemoryClass::workspace, device::Place::gpu);
  // const_cast: the buffer is this function's own.
  const Split split{args, splits, const_cast<float*>(partial.as<float>())};
  const bool aligned = reinterpret_cast<uintptr_t>(args.q) % 16 == 0;
  const auto kernel = args.keys.type == CacheType::fp32
                          ? kernel_for<float>(dim, aligned ? args.ldq : 1)
                          : kernel_for<uint16_t>(dim, aligned ? args.ldq : 1);
  const auto heads = static_cast<unsigned>(args.heads);
  launch(context, kernel,
         {dim3(heads, static_cast<unsigned>(splits)), dim3(threads),
          static_cast<size_t>(threads / warp_size * dim) * sizeof(float)},
         split);
  launch(context, join, {dim3(heads), dim3(threads)}, split, context.compute);
}

}  // namespace qsweep::kernels::cuda
