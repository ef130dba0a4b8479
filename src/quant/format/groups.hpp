// How a matrix is cut into groups that share a scale. A matrix is `lines` lines of `width`
// elements; lines are packed each to whole bytes. Lines are the rows; for a flattened format (nf4)
// the whole tensor is one line.
#pragma once

#include <cstdint>

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

struct Groups {
  int64_t lines = 0, width = 0;
  int64_t size = 0;             // elements a group; the last of a line may be shorter
  int64_t per_line = 0;         // groups a line
  bool shared = false;          // per tensor: one scale for all lines
  int64_t line_bytes = 0;       // packed codes of a line
  int64_t zero_line_bytes = 0;  // packed zero points of a line, where there are any
  int64_t count() const { return shared ? 1 : lines * per_line; }
  // Index of the scale of group g of a line.
  QSWEEP_HD int64_t index(int64_t line, int64_t g) const {
    return shared ? 0 : line * per_line + g;
  }
};

// The spec and shape must have no shape_problem.
Groups groups_of(const FormatSpec& spec, int64_t rows, int64_t cols);

// Zero points, unsigned, packed like the codes of a [lines, per_line] matrix.
struct ZeroReader {
  const uint8_t* data;
  int bits;  // 4 or 8
  int64_t line_bytes;
  bool shared;
  QSWEEP_HD float operator()(int64_t line, int64_t g) const {
    if (shared) line = g = 0;
    const uint8_t* packed = data + line * line_bytes;
    if (bits == 8) return static_cast<float>(packed[g]);
    return static_cast<float>((packed[g / 2] >> (4 * (g & 1))) & 15);
  }
};
ZeroReader zero_reader(const PackedMatrix& matrix);

}  // namespace qsweep::quant::format
