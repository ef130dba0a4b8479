// A block for each row, four columns a thread; where heads are normed or of an odd length, a warp
// for each head of each row. Norm, turn, and for keys and values the place in the cache.
#include "kernels/common.hpp"
#include "kernels/cuda/cache.cuh"
#include "kernels/heads/heads.hpp"
#include "kernels/heads/turn.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int warps = 4, quad_threads = 256;

__device__ void put_at(const CacheView& cache, int64_t head, int64_t position, int64_t i,
                       float value) {
  const int64_t at = (head * cache.capacity + position) * cache.head_dim + i;
  if (cache.type == CacheType::fp32) {
    put(static_cast<float*>(cache.data) + at, value);
  } else {
    put(static_cast<uint16_t*>(cache.data) + at, value);
  }
}

__global__ void place(device::Compute compute, HeadsArgs args) {
  wait_for_previous();
  let_next_start();
  const int64_t dim = args.keys.head_dim, half = dim / 2, kv_heads = args.keys.kv_heads;
  const int64_t head = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size, r = blockIdx.y;
  if (head >= args.heads + 2 * kv_heads) return;
  const int64_t position = (args.position != nullptr ? *args.position : args.first) + r;
  float* x = args.qkv + r * args.ldqkv + head * dim;
  if (head >= args.heads + kv_heads) {
    for (int64_t i = threadIdx.x % warp_size; i < dim; i += warp_size) {
      put_at(args.values, head - args.heads - kv_heads, position, i, x[i]);
    }
    return;
  }
  const bool is_key = head >= args.heads;
  turn_head(compute, x, dim, is_key ? args.k_norm : args.q_norm, args.norm_eps, args.cos + r * half,
            args.sin + r * half, [&](int64_t i, float value) {
              if (is_key) {
                put_at(args.keys, head - args.heads, position, i, value);
              } else {
                x[i] = value;
              }
            });
}

// Threads of a block that work on one part of the heads: each on the same quad of columns of every
// so many heads, so that nothing is divided within the loop.
struct Quads {
  int column, first, step;  // heads first, first + step, ...

  __device__ explicit Quads(int columns) {
    const int a_head = columns / 4, thread = static_cast<int>(threadIdx.x);
    step = quad_threads / a_head;
    first = thread / a_head;
    column = (thread - first * a_head) * 4;
    if (first >= step) first = 1 << 30;  // one thread too many
  }
};

__device__ void put_quad(const CacheView& cache, int64_t head, int64_t position, int column,
                         const float4& v) {
  const int64_t at = (head * cache.capacity + position) * cache.head_dim + column;
  if (cache.type == CacheType::fp32) {
    *reinterpret_cast<float4*>(static_cast<float*>(cache.data) + at) = v;
  } else {
    const auto pair = [](float a, float b) {
      return static_cast<uint32_t>(float_to_bf16(a)) | static_cast<uint32_t>(float_to_bf16(b))
                                                           << 16;
    };
    *reinterpret_cast<uint2*>(static_cast<uint16_t*>(cache.data) + at) =
        uint2{pair(v.x, v.y), pair(v.z, v.w)};
  }
}

__global__ void __launch_bounds__(quad_threads) place_row(device::Compute compute, HeadsArgs args) {
  wait_for_previous();
  let_next_start();
  const int dim = static_cast<int>(args.keys.head_dim), half = dim / 2;
  const int heads = static_cast<int>(args.heads), kv_heads = static_cast<int>(args.keys.kv_heads);
  const int64_t r = blockIdx.x;
  const int64_t position = (args.position != nullptr ? *args.position : args.first) + r;
  float* x = args.qkv + r * args.ldqkv;
  const auto quad = [](auto* from) { return *reinterpret_cast<const float4*>(from); };
  const Quads turned(half), plain(dim);
  if (turned.first < heads + kv_heads) {
    const float4 cos = quad(args.cos + r * half + turned.column);
    const float4 sin = quad(args.sin + r * half + turned.column);
    for (int head = turned.first; head < heads + kv_heads; head += turned.step) {
      float* at = x + int64_t{head} * dim + turned.column;
      float4 a = quad(at), b = quad(at + half);
      const auto turn = [compute](float& first, float& second, float c, float s) {
        const TurnedPair pair = turn_pair(compute, first, second, c, s);
        first = pair.first;
        second = pair.second;
      };
      turn(a.x, b.x, cos.x, sin.x);
      turn(a.y, b.y, cos.y, sin.y);
      turn(a.z, b.z, cos.z, sin.z);
      turn(a.w, b.w, cos.w, sin.w);
      if (head < heads) {
        *reinterpret_cast<float4*>(at) = a;
        *reinterpret_cast<float4*>(at + half) = b;
      } else {
        put_quad(args.keys, head - heads, position, turned.column, a);
        put_quad(args.keys, head - heads, position, turned.column + half, b);
      }
    }
  }
  const float* values = x + int64_t{heads + kv_heads} * dim;
  for (int head = plain.first; head < kv_heads; head += plain.step) {
    put_quad(args.values, head, position, plain.column,
             quad(values + int64_t{head} * dim + plain.column));
  }
}

bool by_quads(const HeadsArgs& args) {
  const auto aligned = [](const void* from) { return reinterpret_cast<uintptr_t>(from) % 16 == 0; };
  return args.q_norm == nullptr && args.k_norm == nullptr && args.keys.head_dim % 8 == 0 &&
         args.keys.head_dim <= 4 * quad_threads && args.ldqkv % 4 == 0 && aligned(args.qkv) &&
         aligned(args.cos) && aligned(args.sin) && aligned(args.keys.data) &&
         aligned(args.values.data);
}

}  // namespace

void place_heads(const device::Context& context, const HeadsArgs& args) {
  count(context, "heads/place");
  if (args.rows == 0) return;
  if (by_quads(args)) {
    launch(context, place_row, {blocks_for(args.rows, 1), dim3(quad_threads)}, context.compute,
           args);
    return;
  }
  // Rows are the grid's second dimension, which ends at 65535.
  constexpr int64_t most_rows = 65535;
  const int64_t heads = args.heads + 2 * args.keys.kv_heads, half = args.keys.head_dim / 2;
  for (int64_t row = 0; row < args.rows; row += most_rows) {
    HeadsArgs part = args;
    part.qkv += row * args.ldqkv;
    part.cos += row * half;
    part.sin += row * half;
    part.first += row;
    const int64_t rows = args.rows - row < most_rows ? args.rows - row : most_rows;
    launch(context, place,
           {dim3(blocks_for(heads, warps).x, static_cast<unsigned>(rows)), dim3(warps * warp_size)},
           context.compute, part);
  }
}

}  // namespace qsweep::kernels::cuda
