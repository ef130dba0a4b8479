// What the two CUDA bodies share: weights as they were stored, and the cut of a matrix into pieces
// of groups, one a warp.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed.cuh"
#include "quant/format/raw.hpp"

namespace qsweep::kernels::cuda {

constexpr int quantize_threads = 256;

// W in one of the three raw formats, [rows * cols]. The type is looked up at each load: the branch
// is the same for all threads, and these kernels run once a model.
struct RawView {
  const void* data;
  quant::FormatId id;
  __device__ float operator()(int64_t i) const {
    switch (id) {
      case quant::FormatId::bf16:
        return format::Bf16::level(static_cast<const uint16_t*>(data)[i]);
      case quant::FormatId::fp16:
        return format::Fp16::level(static_cast<const uint16_t*>(data)[i]);
      default:
        return static_cast<const float*>(data)[i];
    }
  }
};
// Throws Error{internal} where the matrix has scales or lies elsewhere.
RawView raw_view(const PackedMatrix& weights);

// Pieces of at most `longest` elements of a group, in the order of the groups.
struct Pieces {
  static constexpr int64_t longest = 4096;
  format::Groups groups;
  int64_t of_group;  // pieces that a whole group has; the last of a line may have empty ones

  int64_t count() const { return groups.lines * groups.per_line * of_group; }

  struct Piece {
    int64_t line, group;
    int64_t begin, end;  // elements within the line
  };
  __device__ Piece operator()(int64_t i) const {
    const int64_t whole = i / of_group;
    Piece piece{};
    piece.line = whole / groups.per_line;
    piece.group = whole % groups.per_line;
    piece.begin = piece.group * groups.size + i % of_group * longest;
    int64_t end = (piece.group + 1) * groups.size;
    if (end > groups.width) end = groups.width;
    piece.end = end < piece.begin + longest ? end : piece.begin + longest;
    return piece;
  }
};
Pieces pieces_of(const quant::FormatSpec& spec, int64_t rows, int64_t cols);

}  // namespace qsweep::kernels::cuda
