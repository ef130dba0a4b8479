// Packed weights to bf16 or fp32 in memory, for cuBLAS.
//
// To bf16 a thread decodes eight consecutive codes of a row, which share a scale, with one load and
// one store, in four rows at once. Levels are made exactly, in quicker ways than the formats' own
// level(), then multiplied and rounded as decode() does: the bits are the same. Rows that are not
// whole eights, groups that are not, and fp32 take the plain kernel.
#include <cuda_fp16.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <type_traits>

#include "kernels/common.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int pair_threads = 256, octet_threads = 128, rows_a_thread = 4;

// out [rows, cols] of W's rows [first, first + rows), two elements a thread.
template <class F, class Out>
__global__ void dequantize_pairs(PackedView w, int64_t first, int64_t rows, Out* out) {
  wait_for_previous();
  let_next_start();
  const int64_t pairs = tiles(w.cols, 2), i = int64_t{blockIdx.x} * pair_threads + threadIdx.x;
  if (i >= rows * pairs) return;
  const int64_t row = i / pairs;
  for (int64_t col = i % pairs * 2; col < min(i % pairs * 2 + 2, w.cols); ++col) {
    const float value = decode<F>(w, first + row, col);
    if constexpr (sizeof(Out) == 2) {
      out[row * w.cols + col] = float_to_bf16(value);
    } else {
      out[row * w.cols + col] = value;
    }
  }
}

// Rows [first, first + rows) of a matrix in octets: eight consecutive codes of one group. All of
// the matrix has fewer than 2^31. A group is found by a product with the reciprocal of its octets,
// 2^shift / octets rounded up: with less than 2^31 octets before it that is below the next integer.
struct Octets {
  uint32_t first, rows, a_row;
  uint32_t reciprocal;
  int shift;
  __device__ uint32_t group_of(uint32_t octet) const {
    return static_cast<uint32_t>(uint64_t{octet} * reciprocal >> shift);
  }
};

std::optional<Octets> octets_of(const PackedView& w, int64_t first, int64_t rows) {
  constexpr int64_t most = std::numeric_limits<int32_t>::max();
  if (w.cols % 8 != 0 || w.groups.size % 8 != 0 || w.rows * (w.cols / 8) > most) return {};
  const auto group = static_cast<uint64_t>(w.groups.size / 8);
  const int shift = 31 + std::bit_width(group - 1);
  return Octets{static_cast<uint32_t>(first), static_cast<uint32_t>(rows),
                static_cast<uint32_t>(w.cols / 8),
                static_cast<uint32_t>((uint64_t{1} << shift) / group + 1), shift};
}

template <class F>
inline constexpr int words_of = F::bits / 4;  // that hold an octet

// They are read once: the decoded ones should stay in the cache instead.
template <int Words>
__device__ void load_words(const uint8_t* from, uint32_t (&to)[Words]) {
  if constexpr (Words == 1) {
    to[0] = __ldcs(reinterpret_cast<const uint32_t*>(from));
  } else if constexpr (Words == 2) {
    const uint2 v = __ldcs(reinterpret_cast<const uint2*>(from));
    to[0] = v.x;
    to[1] = v.y;
  } else {
#pragma unroll
    for (int i = 0; i < Words; i += 4) {
      const uint4 v = __ldcs(reinterpret_cast<const uint4*>(from) + i / 4);
      to[i] = v.x;
      to[i + 1] = v.y;
      to[i + 2] = v.z;
      to[i + 3] = v.w;
    }
  }
}

// Code `i` of an octet.
template <class F>
__device__ uint32_t code_of(const uint32_t (&words)[words_of<F>], int i) {
  if constexpr (F::bits == 4) {
    const int nibble = F::high_first ? i ^ 1 : i;
    return (words[0] >> (4 * nibble)) & 15u;
  } else {
    constexpr int a_word = 32 / F::bits;
    const uint32_t shifted = words[i / a_word] >> (F::bits * (i % a_word));
    if constexpr (F::bits == 32) return shifted;
    return shifted & ((1u << (F::bits % 32)) - 1u);
  }
}

// Formats whose levels are looked up: shared memory gives a warp 16 different words at once.
template <class F>
inline constexpr bool looked_up = F::bits == 4 && !F::integer;

// Integer codes become floats by their place in one: 2^23 + code has the code in its lowest byte.
struct ZeroPoint {
  uint32_t flip;  // makes two's complement an unsigned code with its zero point in the middle
  float bias;     // 2^23 + the zero point
};
constexpr float byte_unit = 8388608.0f;

template <class F>
__device__ void integer_levels(const uint32_t (&words)[words_of<F>], ZeroPoint zero,
                               float (&level)[8]) {
  uint32_t bytes[2];
  if constexpr (F::bits == 4) {  // even codes, odd codes
    bytes[0] = (words[0] ^ zero.flip) & 0x0F0F0F0Fu;
    bytes[1] = ((words[0] ^ zero.flip) >> 4) & 0x0F0F0F0Fu;
  } else {
    bytes[0] = words[0] ^ zero.flip;
    bytes[1] = words[1] ^ zero.flip;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int word = F::bits == 4 ? i % 2 : i / 4, byte = F::bits == 4 ? i / 2 : i % 4;
    // The other three bytes are those of the bias.
    const uint32_t code = __byte_perm(bytes[word], __float_as_uint(zero.bias), 0x7650u + byte);
    level[i] = __uint_as_float(code) - zero.bias;
  }
}

template <class F>
__device__ void levels_of(const uint32_t (&words)[words_of<F>], const float* table,
                          float (&level)[8]) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if constexpr (looked_up<F>) {
      level[i] = table[code_of<F>(words, i)];
    } else if constexpr (std::is_same_v<F, format::Fp16>) {
      level[i] = __half2float(__ushort_as_half(static_cast<uint16_t>(code_of<F>(words, i))));
    } else if constexpr (std::is_same_v<F, format::Fp8E4m3>) {
      const uint32_t pair = fp16_pair_of_e4m3(words[i / 4] >> (16 * (i / 2 % 2)));
      const auto half = static_cast<uint16_t>(i % 2 == 0 ? pair & 0xFFFFu : pair >> 16);
      level[i] = __half2float(__ushort_as_half(half));
    } else {
      level[i] = F::level(code_of<F>(words, i));
    }
  }
}

// What one column of octets needs in rows_a_thread rows from `begin` on. Rows beyond the last are
// the last again, so that nothing is loaded under a condition.
template <class F>
struct Column {
  uint32_t words[rows_a_thread][words_of<F>];
  float scale[rows_a_thread];
  ZeroPoint zero[rows_a_thread];

  __device__ Column(const PackedView& w, const Octets& o, uint32_t begin, uint32_t column) {
    uint32_t row[rows_a_thread], group[rows_a_thread];
#pragma unroll
    for (int k = 0; k < rows_a_thread; ++k) {
      row[k] = o.first + min(begin + k, o.rows - 1);
      // Rows of whole octets follow each other without gaps.
      const uint32_t at = row[k] * o.a_row + column;
      load_words(w.codes + uint64_t{at} * F::bits, words[k]);
      group[k] = o.group_of(F::flattened ? at : column);
    }
    if constexpr (F::integer) load_zeros(w, row, group);
    if constexpr (F::scaled) {
      const auto line =
          static_cast<uint32_t>(F::flattened || w.groups.shared ? 0 : w.groups.per_line);
      w.scale.with_reader([&](auto reader) {
#pragma unroll
        for (int k = 0; k < rows_a_thread; ++k) scale[k] = reader(row[k] * line + group[k]);
      });
    }
  }

 private:
  __device__ void load_zeros(const PackedView& w, const uint32_t (&row)[rows_a_thread],
                             const uint32_t (&group)[rows_a_thread]) {
    constexpr int middle = 1 << (F::bits - 1);
    constexpr uint32_t flip = F::bits == 4 ? 0x88888888u : 0x80808080u;
#pragma unroll
    for (int k = 0; k < rows_a_thread; ++k) zero[k] = {flip, byte_unit + middle};
    if (!w.asymmetric) return;
    format::ZeroReader zeros = w.zeros;
    zeros.bits = F::bits;  // known to the compiler
#pragma unroll
    for (int k = 0; k < rows_a_thread; ++k) zero[k] = {0, byte_unit + zeros(row[k], group[k])};
  }
};

// Everything is loaded before anything is stored: the compiler cannot know that they are apart.
template <class F>
__device__ void decode_column(const PackedView& w, const Octets& o, uint32_t begin, uint32_t column,
                              const float* table, uint16_t* out) {
  const Column<F> from(w, o, begin, column);
#pragma unroll
  for (int k = 0; k < rows_a_thread; ++k) {
    float value[8];
    if constexpr (F::integer) {
      integer_levels<F>(from.words[k], from.zero[k], value);
    } else {
      levels_of<F>(from.words[k], table, value);
    }
    if constexpr (F::scaled) {
#pragma unroll
      for (float& v : value) v *= from.scale[k];
    }
    if (begin + k < o.rows) {
      reinterpret_cast<uint4*>(out)[uint64_t{begin + k} * o.a_row + column] =
          make_uint4(bf16_pair(value[0], value[1]), bf16_pair(value[2], value[3]),
                     bf16_pair(value[4], value[5]), bf16_pair(value[6], value[7]));
    }
  }
}

// out [rows, cols] without gaps.
template <class F>
__global__ void __launch_bounds__(octet_threads)
    dequantize_octets(PackedView w, Octets o, uint16_t* out) {
  __shared__ float table[16];
  if constexpr (looked_up<F>) {
    if (threadIdx.x < 16) table[threadIdx.x] = F::level(threadIdx.x);
    __syncthreads();
  }
  wait_for_previous();
  let_next_start();
  const uint32_t column = blockIdx.x * octet_threads + threadIdx.x;
  if (column >= o.a_row) return;
  for (uint32_t begin = blockIdx.y * rows_a_thread; begin < o.rows;
       begin += gridDim.y * rows_a_thread) {
    decode_column<F>(w, o, begin, column, table, out);
  }
}

template <class Out>
void run(const device::Context& context, const quant::PackedMatrix& weight, int64_t first,
         int64_t rows, Out* out) {
  const PackedView w = view_of(weight);
  format::visit_format(weight.spec.id, [&](auto f) {
    using F = decltype(f);
    if constexpr (sizeof(Out) == 2) {
      if (const auto octets = octets_of(w, first, rows)) {
        constexpr int64_t most_blocks = 65535;  // along y
        const unsigned down =
            static_cast<unsigned>(std::min(tiles(rows, rows_a_thread), most_blocks));
        const Grid grid{dim3(blocks_for(w.cols / 8, octet_threads).x, down), dim3(octet_threads)};
        launch(context, dequantize_octets<F>, grid, w, *octets, out);
        return;
      }
    }
    const Grid grid{blocks_for(rows * tiles(w.cols, 2), pair_threads), dim3(pair_threads)};
    launch(context, dequantize_pairs<F, Out>, grid, w, first, rows, out);
  });
}

}  // namespace

void dequantize(const device::Context& context, const quant::PackedMatrix& weight, int64_t first,
                int64_t rows, uint16_t* out) {
  run(context, weight, first, rows, out);
}
void dequantize(const device::Context& context, const quant::PackedMatrix& weight, int64_t first,
                int64_t rows, float* out) {
  run(context, weight, first, rows, out);
}

}  // namespace qsweep::kernels::cuda
