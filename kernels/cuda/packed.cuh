// A packed matrix as kernels see it. Codes and scales are decoded by the functions of
// src/quant/format, the same as on the host.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <array>

#include "quant/format/formats.hpp"
#include "quant/format/groups.hpp"
#include "quant/format/scales.hpp"

namespace qsweep::kernels::cuda {

using quant::PackedMatrix;
using quant::ScaleCodecId;
namespace format = quant::format;

__device__ constexpr std::array<float, 256> dynamic_map = format::make_dynamic_map();

// The readers of src/quant/format take any address, a byte at a time. Buffers on the GPU are
// aligned, and padded so that the word behind the last may be read.
//
// from(first) is a reader of the scales behind `first`, some 2^24 of them: it has less to do for
// each.
struct Fp32Scales {
  const uint8_t* data;
  __device__ Fp32Scales from(int64_t first) const { return {data + first * 4}; }
  __device__ float operator()(int64_t i) const { return reinterpret_cast<const float*>(data)[i]; }
};
struct Fp16Scales {
  const uint8_t* data;
  __device__ Fp16Scales from(int64_t first) const { return {data + first * 2}; }
  __device__ float operator()(int64_t i) const {
    return __half2float(reinterpret_cast<const __half*>(data)[i]);
  }
};
struct Bf16Scales {
  const uint8_t* data;
  __device__ Bf16Scales from(int64_t first) const { return {data + first * 2}; }
  __device__ float operator()(int64_t i) const {
    return bf16_to_float(reinterpret_cast<const uint16_t*>(data)[i]);
  }
};
struct Dq8Row {
  const uint8_t* indices;
  const uint8_t* absmax;  // fp32 of each block, at any address
  uint32_t behind;        // indices of the first block in front of these
  float offset;
  __device__ float operator()(uint32_t i) const {
    constexpr auto block = static_cast<uint32_t>(format::dq8_block);
    return dynamic_map[indices[i]] * float_at(absmax + (behind + i) / block * 4) + offset;
  }
  __device__ static float float_at(const uint8_t* from) {
    const auto beyond = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(from) & 3);
    const auto* words = reinterpret_cast<const uint32_t*>(from - beyond);
    return __uint_as_float(__funnelshift_r(words[0], words[1], beyond * 8));
  }
};
struct Dq8Scales {
  const uint8_t* indices;  // [count], then fp32 [blocks] and the offset at any address
  int64_t count;
  __device__ Dq8Row from(int64_t first) const {
    const uint8_t* const absmax = indices + count;
    return {indices + first, absmax + first / format::dq8_block * 4,
            static_cast<uint32_t>(first % format::dq8_block),
            Dq8Row::float_at(absmax + format::ScaleDq8::blocks(count) * 4)};
  }
  __device__ float operator()(int64_t i) const { return from(i)(0); }
};

// Scales bit-packed with `width` bits. Two aligned words hold the code wherever it begins; buffers
// on the GPU are padded for that.
struct E5mRow {
  const uint32_t* words;
  uint32_t first_bit, width;
  int mantissa_bits;
  __device__ float operator()(uint32_t i) const {
    const uint32_t bit = first_bit + i * width, at = bit >> 5;
    const uint32_t window = __funnelshift_r(words[at], words[at + 1], bit);
    return format::E5mScaleReader::value(window & ((1u << width) - 1u), mantissa_bits);
  }
};
struct E5mWords {
  const uint8_t* data;
  int width, mantissa_bits;
  __device__ E5mRow from(int64_t first) const {
    const uint64_t bit = static_cast<uint64_t>(first) * static_cast<uint64_t>(width);
    return {reinterpret_cast<const uint32_t*>(data) + (bit >> 5), static_cast<uint32_t>(bit & 31),
            static_cast<uint32_t>(width), mantissa_bits};
  }
  __device__ float operator()(int64_t i) const { return from(i)(0); }
};

struct NoScale {
  __device__ NoScale from(int64_t) const { return {}; }
  __device__ float operator()(int64_t) const { return 1.0f; }
};

// use(decode): decode(window) is the scale, as the bits of a float, whose code is the lowest bits
// of `window`; of all codecs that give each scale bits of its own. The codec is looked up once;
// parameters of a kernel that it has no use for are not read.
template <class Use>
__device__ void with_scale_bits(const ScaleCodecId& id, const int& width, const int& mantissa_bits,
                                Use use) {
  switch (id) {
    case ScaleCodecId::fp32:
      return use([](uint32_t window) { return window; });
    case ScaleCodecId::fp16:
      return use([](uint32_t window) {
        return __float_as_uint(__half2float(__ushort_as_half(static_cast<uint16_t>(window))));
      });
    case ScaleCodecId::bf16:
      return use([](uint32_t window) { return window << 16; });
    default:
      return use([mask = (1u << width) - 1u, bits = mantissa_bits](uint32_t window) {
        return __float_as_uint(format::E5mScaleReader::value(window & mask, bits));
      });
  }
}

// The scales of a matrix in whatever codec.
struct ScaleView {
  ScaleCodecId id = ScaleCodecId::none;
  const uint8_t* data = nullptr;
  int64_t count = 0;
  uint64_t bytes = 0;
  int width = 0, mantissa_bits = 0;  // e5m

  // use(reader): reader(i) is scale i. The codec is looked up once.
  template <class Use>
  __device__ auto with_reader(Use use) const {
    switch (id) {
      case ScaleCodecId::fp32:
        return use(Fp32Scales{data});
      case ScaleCodecId::fp16:
        return use(Fp16Scales{data});
      case ScaleCodecId::bf16:
        return use(Bf16Scales{data});
      case ScaleCodecId::e5m:
        return use(E5mWords{data, width, mantissa_bits});
      case ScaleCodecId::dq8:
        return use(Dq8Scales{data, count});
      case ScaleCodecId::none:
        break;
    }
    return use(NoScale{});
  }

  __device__ float operator()(int64_t i) const {
    return with_reader([i](auto reader) { return static_cast<float>(reader(i)); });
  }
};

struct PackedView {
  const uint8_t* codes = nullptr;
  ScaleView scale;
  format::ZeroReader zeros{};
  bool asymmetric = false;
  int64_t rows = 0, cols = 0;
  format::Groups groups;
};

PackedView view_of(const PackedMatrix& matrix);

// Code `i` of a packed line as a level, the zero point subtracted where there is one.
template <class F>
__device__ float code_value(const uint8_t* line, int64_t i, bool asymmetric, float zero) {
  if constexpr (F::bits == 32) {
    return F::level(reinterpret_cast<const uint32_t*>(line)[i]);
  } else if constexpr (F::bits == 16) {
    return F::level(reinterpret_cast<const uint16_t*>(line)[i]);
  } else {
    uint32_t code = 0;
    if constexpr (F::bits == 8) {
      code = line[i];
    } else {
      const bool high = (i % 2 == 0) == F::high_first;
      code = high ? line[i / 2] >> 4 : line[i / 2] & 15;
    }
    if constexpr (F::integer) {
      if (asymmetric) return F::unsigned_level(code) - zero;
    }
    return F::level(code);
  }
}

// Where element (row, col) stands: its line, its place there, its group.
template <class F>
struct Element {
  int64_t line, at, group;
  __device__ Element(const PackedView& w, int64_t row, int64_t col)
      : line(F::flattened ? 0 : row),
        at(F::flattened ? row * w.cols + col : col),
        group(F::scaled ? at / w.groups.size : 0) {}
};

template <class F>
__device__ float decode(const PackedView& w, int64_t row, int64_t col) {
  const Element<F> e(w, row, col);
  const uint8_t* line = w.codes + e.line * w.groups.line_bytes;
  if constexpr (!F::scaled) {
    return code_value<F>(line, e.at, false, 0);
  } else {
    const float zero = w.asymmetric ? w.zeros(e.line, e.group) : 0.0f;
    return code_value<F>(line, e.at, w.asymmetric, zero) * w.scale(w.groups.index(e.line, e.group));
  }
}

}  // namespace qsweep::kernels::cuda
