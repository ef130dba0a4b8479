// Packed bytes -> fp32, a stretch of a line at a time: codes to levels in one vectorised pass, then
// each group times its scale while the levels are still in the first-level cache.
#include <algorithm>
#include <optional>

#include "base/error.hpp"
#include "quant/format/format.hpp"
#include "quant/format/groups.hpp"
#include "quant/format/scales.hpp"
#include "quant/format/unpack.hpp"

namespace qsweep::quant {
namespace {

using format::Groups;

// Elements decoded at once: 16 KB of fp32, half of a usual first-level cache.
constexpr int64_t stretch_elements = 4096;

struct Decoder {
  Groups groups;
  format::Unpack unpack;
  format::ScaleReader scale;
  std::optional<format::ZeroReader> zero;

  explicit Decoder(const PackedMatrix& matrix)
      : groups(format::groups_of(matrix.spec, matrix.rows, matrix.cols)),
        unpack(format::unpacker(matrix.spec)),
        scale(matrix) {
    if (!matrix.spec.symmetric) zero = format::zero_reader(matrix);
  }
};

void apply_scale(float* __restrict levels, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) levels[i] *= scale;
}

void apply_zero_and_scale(float* __restrict levels, int64_t n, float zero, float scale) {
  for (int64_t i = 0; i < n; ++i) levels[i] = (levels[i] - zero) * scale;
}

// Elements [begin, end) of a line.
void decode_stretch(const Decoder& decoder, const uint8_t* line_codes, int64_t line, int64_t begin,
                    int64_t end, float* out) {
  const Groups& groups = decoder.groups;
  decoder.unpack(line_codes, begin, end, out);
  for (int64_t at = begin; at < end;) {
    const int64_t g = at / groups.size;
    const int64_t stop = std::min(end, (g + 1) * groups.size);
    const float scale = decoder.scale(groups.index(line, g));
    if (decoder.zero) {
      apply_zero_and_scale(out + (at - begin), stop - at, (*decoder.zero)(line, g), scale);
    } else {
      apply_scale(out + (at - begin), stop - at, scale);
    }
    at = stop;
  }
}

void decode_line(const Decoder& decoder, const uint8_t* line_codes, int64_t line, int64_t begin,
                 int64_t end, float* out) {
  for (int64_t at = begin; at < end; at += stretch_elements) {
    decode_stretch(decoder, line_codes, line, at, std::min(end, at + stretch_elements),
                   out + (at - begin));
  }
}

}  // namespace

format::ZeroReader format::zero_reader(const PackedMatrix& matrix) {
  expect(!matrix.spec.symmetric, "only asymmetric formats have zero points");
  const Groups groups = groups_of(matrix.spec, matrix.rows, matrix.cols);
  return {matrix.zeros.as<uint8_t>(), code_bits(matrix.spec.id), groups.zero_line_bytes,
          groups.shared};
}

format::ScaleReader::ScaleReader(const PackedMatrix& matrix) {
  expect(has_scales(matrix.spec.id), "only formats with scales have a scale reader");
  const int64_t count = groups_of(matrix.spec, matrix.rows, matrix.cols).count();
  visit_scale(matrix.spec.scale.id, [&](auto c) {
    reader_ = decltype(c)::reader(matrix.spec.scale, matrix.scales.as<uint8_t>(), count);
  });
}

void dequantize_rows(const PackedMatrix& matrix, int64_t row, int64_t row_count, float* out) {
  expect(row >= 0 && row_count >= 0 && row_count <= matrix.rows - row,
         "the rows to decode lie in the matrix");
  expect(matrix.codes.place() == device::Place::host, "the host decodes what lies on the host");
  const auto* codes = matrix.codes.as<uint8_t>();
  if (!has_scales(matrix.spec.id)) {
    format::unpacker(matrix.spec)(codes, row * matrix.cols, (row + row_count) * matrix.cols, out);
    return;
  }
  const Decoder decoder(matrix);
  if (decoder.groups.width != matrix.cols) {  // flattened: rows are stretches of the single line
    decode_line(decoder, codes, 0, row * matrix.cols, (row + row_count) * matrix.cols, out);
    return;
  }
  for (int64_t r = row; r < row + row_count; ++r) {
    decode_line(decoder, codes + r * decoder.groups.line_bytes, r, 0, matrix.cols,
                out + (r - row) * matrix.cols);
  }
}

std::vector<float> decode_scales(const PackedMatrix& matrix) {
  if (!has_scales(matrix.spec.id)) return {};
  std::vector<float> scales(
      static_cast<size_t>(format::groups_of(matrix.spec, matrix.rows, matrix.cols).count()));
  const format::ScaleReader reader(matrix);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = reader(static_cast<int64_t>(i));
  return scales;
}

}  // namespace qsweep::quant
