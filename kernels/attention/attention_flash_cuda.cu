// Causal attention of many rows that keeps its scores in registers; see attention_cuda.cuh.
//
// A block has 128 rows of one head, a warp 32 of them. Keys and values come by tiles of 64
// positions into two stages of shared memory: while one is worked on, the other is filled. For each
// tile a warp makes its scores [32, 64], takes them to weights exp(s - largest so far), adds
// weights times values to its sums [32, Dim], which were first scaled down to the new largest
// score, and goes on. Method: Dao, "FlashAttention-2", arXiv:2307.08691.
//
// 32 rows a warp, not 16: each operand from shared memory then serves two products, and shared
// memory, which at 16 rows would have to deliver all of its 128 bytes a clock, is not what limits.
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/attention/attention_cuda.cuh"
#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 128;
constexpr int tile_rows = 128;  // of a block
constexpr int warp_rows = 32;   // two left operands of 16
constexpr int tile_keys = 64;

// A tile's lines in shared memory have 16 bytes more than their Dim elements: the eight lines that
// one step of load_matrices() reads then lie in different banks.
template <int Dim>
constexpr int line_bytes = Dim * 2 + 16;
template <int Dim>
constexpr int tile_bytes = tile_keys* line_bytes<Dim>;  // of keys or of values
template <int Dim>
constexpr int stage_bytes = 2 * tile_bytes<Dim>;
template <int Dim>
constexpr int shared_bytes = tile_rows* line_bytes<Dim> + 2 * stage_bytes<Dim>;

// Blocks of a multiprocessor: as many as the registers of the sums let in. Nothing spills but, at
// 64, one word a tile.
template <int Dim>
constexpr int resident_blocks = Dim <= 64 ? 3 : 2;

// Steps of the scores' products that are unrolled together: all, so that operands are loaded ahead,
// but for 128, where that spills.
template <int Dim>
constexpr int steps_at_once = Dim <= 96 ? Dim / 16 : 2;

struct Flash {
  AttentionArgs args;
  float scale;  // log2(e) / sqrt(Dim): weights are powers of 2
  device::Compute compute;
};

// Starts copying a tile [64, Dim]; lines from `count` on become 0. Whatever a cache holds behind
// its last position, NaN too, would otherwise reach the sums: 0 * NaN is NaN.
template <int Dim>
__device__ void copy_tile(uint32_t to, const uint16_t* from, int count) {
  // Vectors of a line, of 16 bytes, and after how many rounds a thread is back at the same one:
  // with all else a constant offset, few addresses have to be kept.
  constexpr int vectors = Dim / 8, period = vectors / std::gcd(vectors, threads);
  constexpr int lines = period * threads / vectors;  // of so many rounds
  const int thread = thread_index_anew();
#pragma unroll
  for (int round = 0; round < period; ++round) {
    const int at = thread + round * threads, line = at / vectors;
    const uint32_t to_round = to + 16 * (at + line);
    const uint16_t* from_round = from + 8 * at;
    const int left = count - line;
#pragma unroll
    for (int i = 0; i < tile_keys; i += lines) {
      copy_async(to_round + i * line_bytes<Dim>, from_round + i * Dim, i < left);
    }
  }
}

// Rows [first, first + 128) of q [rows, heads, Dim], fp32, to lines of bf16; 0 where there are no
// more.
template <int Dim>
__device__ void stage_rows(uint32_t to, const AttentionArgs& args, int first, int head) {
  constexpr int vectors = Dim / 8;
#pragma unroll 4
  for (int i = 0; i < tile_rows * vectors / threads; ++i) {
    const int at = static_cast<int>(threadIdx.x) + i * threads, line = at / vectors;
    float4 low{}, high{};
    if (first + line < args.rows) {
      const float* q = args.q + int64_t{first + line} * args.ldq + head * Dim + at % vectors * 8;
      low = *reinterpret_cast<const float4*>(q);
      high = *reinterpret_cast<const float4*>(q + 4);
    }
    const uint32_t words[4] = {bf16_pair(low.x, low.y), bf16_pair(low.z, low.w),
                               bf16_pair(high.x, high.y), bf16_pair(high.z, high.w)};
    store_shared(to + 16 * (at + line), words);
  }
}

// A warp's 32 rows. Of rows 16m + g and 16m + g + 8 (half 0, 1) a lane has columns 2t and 2t + 1 of
// every eight: elements 2 half and 2 half + 1 of [m][eight].
struct Lane {
  int thread = thread_index_anew();
  int lane = thread % warp_size, g = lane / 4, t = lane % 4;
  int line = thread / warp_size * warp_rows;  // the warp's first of the block's 128
};

template <int Dim>
struct Rows {
  static constexpr int eights = tile_keys / 8;
  using Scores = float[2][eights][4];
  float sums[2][Dim / 8][4] = {};  // of weights times values
  float weight[2][2] = {};         // sum of this lane's weights of a row, [m][half]
  float largest[2][2];             // score of the row so far, times scale

  __device__ Rows() {
#pragma unroll
    for (int m = 0; m < 2; ++m) largest[m][0] = largest[m][1] = -INFINITY;
  }

  // scores = q k^T, unscaled; `q` and `keys` are the first lines of the block.
  __device__ void score(uint32_t q, uint32_t keys, Scores& scores) const {
    const Lane at;
    q += (at.line + at.lane % 16) * line_bytes<Dim> + at.lane / 16 * 16;
    // Columns of the right operand are positions: two operands of 8 positions, 16 elements each.
    keys += (at.lane / 16 * 8 + at.lane % 8) * line_bytes<Dim> + at.lane / 8 % 2 * 16;
#pragma unroll(steps_at_once <Dim>)
    for (int step = 0; step < Dim / 16; ++step) {
      uint32_t a[2][4];
      load_matrices(q + step * 32, a[0]);
      load_matrices(q + step * 32 + 16 * line_bytes<Dim>, a[1]);
#pragma unroll
      for (int pair = 0; pair < eights / 2; ++pair) {
        uint32_t b[4];
        load_matrices(keys + step * 32 + pair * 16 * line_bytes<Dim>, b);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          multiply(scores[m][2 * pair], a[m], b[0], b[1]);
          multiply(scores[m][2 * pair + 1], a[m], b[2], b[3]);
        }
      }
    }
  }

  // Row i of the warp sees the first `seen` + i positions of the tile, which may be none or all.
  __device__ void mask(int seen, Scores& scores) const {
    const Lane at;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int n = 0; n < eights; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int seen_here = seen + 16 * m + at.g + 8 * (i / 2) - 2 * at.t;
          if (8 * n + i % 2 >= seen_here) scores[m][n][i] = -INFINITY;
        }
      }
    }
  }

  // Brings the sums down to the largest of the rows' scores, these included. The first tile has
  // position 0, which every row sees: from then on no largest score is -inf.
  __device__ void follow_largest(float scale, const Scores& scores) {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = scores[m][0][2 * half];
#pragma unroll
        for (int n = 0; n < eights; ++n) {
          most = fmaxf(most, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, 2));
        const float before = largest[m][half];
        largest[m][half] = fmaxf(before, most * scale);
        const float down = exp2_approximate(before - largest[m][half]);
        weight[m][half] *= down;
#pragma unroll
        for (int n = 0; n < Dim / 8; ++n) {
          sums[m][n][2 * half] *= down;
          sums[m][n][2 * half + 1] *= down;
        }
      }
    }
  }

  // Weights of 8 positions, rounded to bf16 as a left operand of the next product holds them.
  __device__ void weigh(float scale, int m, const float (&scores)[4], uint32_t (&rounded)[2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float low = exp2_approximate(fmaf(scores[2 * half], scale, -largest[m][half]));
      const float high = exp2_approximate(fmaf(scores[2 * half + 1], scale, -largest[m][half]));
      weight[m][half] += low;
      weight[m][half] += high;
      rounded[half] = bf16_pair(low, high);
    }
  }

  // sums += weights v. What a lane has of two eights of scores is what the left operand wants.
  __device__ void add_values(float scale, uint32_t values, const Scores& scores) {
    const Lane at;
    values += at.lane % 16 * line_bytes<Dim> + at.lane / 16 * 16;
#pragma unroll
    for (int step = 0; step < tile_keys / 16; ++step) {
      uint32_t a[2][2][2];  // [m][eight][half]
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        weigh(scale, m, scores[m][2 * step], a[m][0]);
        weigh(scale, m, scores[m][2 * step + 1], a[m][1]);
      }
#pragma unroll
      for (int pair = 0; pair < Dim / 16; ++pair) {
        uint32_t b[4];
        load_matrices_transposed(values + step * 16 * line_bytes<Dim> + pair * 32, b);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          const uint32_t left[4] = {a[m][0][0], a[m][0][1], a[m][1][0], a[m][1][1]};
          multiply(sums[m][2 * pair], left, b[0], b[1]);
          multiply(sums[m][2 * pair + 1], left, b[2], b[3]);
        }
      }
    }
  }

  // y [rows, heads, Dim]: sums over the whole weight; `first` is the warp's first row.
  __device__ void store(const Flash& p, int first, int head) const {
    const Lane at;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float whole = weight[m][half];
        whole += __shfl_xor_sync(0xFFFFFFFFu, whole, 1);
        whole += __shfl_xor_sync(0xFFFFFFFFu, whole, 2);
        const float inverse = 1.0f / whole;
        const int row = first + 16 * m + 8 * half + at.g;
        if (row >= p.args.rows) continue;
        float* y = p.args.y + int64_t{row} * p.args.ldy + head * Dim + 2 * at.t;
#pragma unroll
        for (int n = 0; n < Dim / 8; ++n) {
          const float low = sums[m][n][2 * half] * inverse;
          const float high = sums[m][n][2 * half + 1] * inverse;
          *reinterpret_cast<float2*>(y + 8 * n) =
              float2{stored(p.compute, low), stored(p.compute, high)};
        }
      }
    }
  }

  __device__ static void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    multiply_add_16x8x16<false>(c, a[0], a[1], a[2], a[3], b0, b1);
  }
};

// Block (head of its group, KV head, tile of rows), the last rows first: they see most, and what is
// short fills the gaps at the end.
template <int Dim>
__global__ void __launch_bounds__(threads, resident_blocks<Dim>) flash(Flash p) {
  wait_for_previous();
  let_next_start();
  const AttentionArgs& args = p.args;
  // Counts below 2^31, as flash_serves() makes sure; 32 bits keep registers free.
  const int rows = static_cast<int>(args.rows), kv_head = static_cast<int>(blockIdx.y);
  const int head = kv_head * static_cast<int>(gridDim.x) + static_cast<int>(blockIdx.x);
  const int kv_start = kv_head * static_cast<int>(args.keys.capacity);  // of keys and of values
  const int first_row = static_cast<int>(gridDim.z - 1 - blockIdx.z) * tile_rows;
  const int first = static_cast<int>(args.first) + first_row;  // position of that row
  const int end = first + min(tile_rows, rows - first_row);    // of the positions that are seen

  const uint32_t q = shared_address(shared_memory<unsigned char>());
  const uint32_t stages = q + tile_rows * line_bytes<Dim>;
  const auto stage = [&](int position) {
    return stages + position / tile_keys % 2 * stage_bytes<Dim>;
  };
  const auto copy = [&](int position) {
    const uint32_t to = stage(position);
    const int64_t from = int64_t{kv_start + position} * Dim;
    copy_tile<Dim>(to, static_cast<const uint16_t*>(args.keys.data) + from, end - position);
    copy_tile<Dim>(to + tile_bytes<Dim>, static_cast<const uint16_t*>(args.values.data) + from,
                   end - position);
  };
  copy(0);
  stage_rows<Dim>(q, args, first_row, head);

  const int in_block = static_cast<int>(threadIdx.x) / warp_size * warp_rows;
  // Positions that the warp's first row sees; one without rows sees none and has nothing to do.
  const int sees = first_row + in_block < rows ? first + in_block + 1 : -warp_rows;
  Rows<Dim> mine;
  for (int position = 0; position < end; position += tile_keys) {
    wait_for_copies();
    __syncthreads();  // this stage is full, and all have left the other
    if (position + tile_keys < end) copy(position + tile_keys);
    if (position >= sees + warp_rows - 1) continue;
    typename Rows<Dim>::Scores scores = {};
    mine.score(q, stage(position), scores);
    if (position + tile_keys > sees) mine.mask(sees - position, scores);
    mine.follow_largest(p.scale, scores);
    mine.add_values(p.scale, stage(position) + tile_bytes<Dim>, scores);
  }
  if (sees > 0) mine.store(p, sees - 1 - static_cast<int>(args.first), head);
}

template <int Dim>
void launch_flash(const device::Context& context, const AttentionArgs& args) {
  const auto scale = static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(Dim)));
  const int64_t group = args.heads / args.keys.kv_heads;
  const dim3 blocks(static_cast<unsigned>(group), static_cast<unsigned>(args.keys.kv_heads),
                    blocks_for(args.rows, tile_rows).x);
  launch(context, flash<Dim>, {blocks, dim3(threads), shared_bytes<Dim>},
         Flash{args, scale, context.compute});
}

bool aligned(const void* address, uintptr_t to) {
  return reinterpret_cast<uintptr_t>(address) % to == 0;
}

}  // namespace

bool flash_serves(const AttentionArgs& args) {
  const int64_t dim = args.keys.head_dim;
  const bool bf16 = args.keys.type == CacheType::bf16 && args.values.type == CacheType::bf16 &&
                    args.keys.capacity == args.values.capacity;
  const bool whole_vectors = aligned(args.q, 16) && args.ldq % 4 == 0 && aligned(args.y, 8) &&
                             args.ldy % 2 == 0 && aligned(args.keys.data, 16) &&
                             aligned(args.values.data, 16);
  // Positions and lines of the cache are counted with 32 bits, and a grid has at most 65535 blocks
  // along y and z.
  constexpr int64_t most = (int64_t{1} << 31) - 2 * tile_rows;
  const bool fits = args.first + args.rows < most &&
                    args.keys.kv_heads * args.keys.capacity < most && args.heads < most / 128 &&
                    args.keys.kv_heads <= 65535 && args.rows <= int64_t{65535} * tile_rows;
  return bf16 && (dim == 64 || dim == 96 || dim == 128) && whole_vectors && fits;
}

void attention_flash(const device::Context& context, const AttentionArgs& args) {
  switch (args.keys.head_dim) {
    case 64:
      return launch_flash<64>(context, args);
    case 96:
      return launch_flash<96>(context, args);
    default:
      return launch_flash<128>(context, args);
  }
}

}  // namespace qsweep::kernels::cuda
