// Round-to-nearest quantization: exact scales of all groups -> coded scales -> zero points ->
// codes.
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "quant/format/format.hpp"
#include "quant/format/groups.hpp"
#include "quant/format/parallel.hpp"
#include "quant/format/rtn.hpp"
#include "quant/format/scales.hpp"

namespace qsweep::quant {
namespace {

using format::Groups;

// A stretch [begin, end) of one line that shares a scale.
struct Stretch {
  int64_t begin, end;
};
Stretch stretch(const Groups& groups, int64_t g) {
  const int64_t begin = g * groups.size;
  return {begin, std::min(groups.width, begin + groups.size)};
}

// Largest |w| over [n], as bits.
uint32_t largest_magnitude(const float* w, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, format::magnitude_bits(w[i]));
  return largest;
}

void check_weights(std::span<const float> weights, int64_t cols, int threads) {
  const auto rows = static_cast<int64_t>(weights.size()) / cols;
  format::for_pieces(rows, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* w = weights.data() + row * cols;
      if (!format::is_refused(largest_magnitude(w, cols))) continue;
      int64_t col = 0;
      while (!format::is_refused(format::magnitude_bits(w[col]))) ++col;
      throw_bad_weight(row, col, w[col]);
    }
  });
}

// Lowest and highest weight of a group, widened to include 0.
struct Range {
  float low = 0, high = 0;
  void add(const float* w, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      low = std::min(low, w[i]);
      high = std::max(high, w[i]);
    }
  }
};

// f(line, g, first element, elements) for all groups of lines [begin, end).
template <class Function>
void for_groups(const Groups& groups, std::span<const float> weights, int64_t begin, int64_t end,
                const Function& f) {
  for (int64_t line = begin; line < end; ++line) {
    for (int64_t g = 0; g < groups.per_line; ++g) {
      const Stretch s = stretch(groups, g);
      f(line, g, weights.data() + line * groups.width + s.begin, s.end - s.begin);
    }
  }
}

template <class F>
float symmetric_scale(const float* w, int64_t n) {
  return format::exact_scale(std::bit_cast<float>(largest_magnitude(w, n)), F::range);
}

// Exact scales [groups.count()] of symmetric groups.
template <class F>
std::vector<float> symmetric_scales(const Groups& groups, std::span<const float> weights,
                                    int threads) {
  if (groups.shared) {
    return {symmetric_scale<F>(weights.data(), static_cast<int64_t>(weights.size()))};
  }
  std::vector<float> scales(static_cast<size_t>(groups.count()));
  // Over groups, not lines: a flattened format has one line.
  format::for_pieces(groups.count(), threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Stretch s = stretch(groups, i % groups.per_line);
      const float* w = weights.data() + i / groups.per_line * groups.width + s.begin;
      scales[static_cast<size_t>(i)] = symmetric_scale<F>(w, s.end - s.begin);
    }
  });
  return scales;
}

std::vector<Range> ranges_of(const Groups& groups, std::span<const float> weights, int threads) {
  std::vector<Range> ranges(static_cast<size_t>(groups.count()));
  if (groups.shared) {
    ranges[0].add(weights.data(), static_cast<int64_t>(weights.size()));
    return ranges;
  }
  format::for_pieces(groups.lines, threads, [&](int64_t begin, int64_t end) {
    for_groups(groups, weights, begin, end,
               [&](int64_t line, int64_t g, const float* w, int64_t n) {
                 ranges[static_cast<size_t>(groups.index(line, g))].add(w, n);
               });
  });
  return ranges;
}

// Codes `exact` into matrix.scales and returns the scales that weight codes are chosen against.
std::vector<float> code_scales(PackedMatrix& matrix, std::vector<float> exact) {
  const bool follow_exact = format::visit_scale(matrix.spec.scale.id, [&](auto c) {
    using Codec = decltype(c);
    Codec::encode(matrix.spec.scale, exact, matrix.scales.as<uint8_t>());
    return bool{Codec::codes_follow_exact};
  });
  return follow_exact ? std::move(exact) : decode_scales(matrix);
}

// codes [n], one a byte, packed from the first byte of `out` on.
template <class F>
void pack(const uint8_t* codes, int64_t n, uint8_t* out) {
  if constexpr (F::bits == 8) {
    std::memcpy(out, codes, static_cast<size_t>(n));
  } else {
    constexpr int first = F::high_first ? 4 : 0, second = 4 - first;
    for (int64_t i = 0; i < n / 2; ++i) {
      out[i] = static_cast<uint8_t>(codes[2 * i] << first | codes[2 * i + 1] << second);
    }
    if (n % 2 != 0) out[n / 2] = static_cast<uint8_t>(codes[n - 1] << first);
  }
}

// Chooses and packs the codes of groups [first, last) of a line, whose first element starts a byte.
// encode(w, index of the group's scale) is a code in a byte.
template <class F, class Encode>
void encode_line(const Groups& groups, const float* line_weights, int64_t line, int64_t first,
                 int64_t last, uint8_t* line_codes, std::vector<uint8_t>& scratch,
                 const Encode& encode) {
  const int64_t begin = first * groups.size;
  const int64_t end = std::min(groups.width, last * groups.size);
  scratch.resize(static_cast<size_t>(end - begin));
  for (int64_t g = first; g < last; ++g) {
    const Stretch s = stretch(groups, g);
    encode(line_weights + s.begin, s.end - s.begin, groups.index(line, g),
           scratch.data() + (s.begin - begin));
  }
  pack<F>(scratch.data(), end - begin, line_codes + begin * F::bits / 8);
}

// All codes of the matrix. A line is one piece of work; the single line of a flattened format is
// cut every 64 groups, which is a whole number of bytes whatever the group size.
template <class F, class Encode>
void encode_codes(PackedMatrix& matrix, const Groups& groups, std::span<const float> weights,
                  int threads, const Encode& encode) {
  constexpr int64_t cut = 64;
  auto* codes = matrix.codes.as<uint8_t>();
  const int64_t pieces = F::flattened ? (groups.per_line + cut - 1) / cut : groups.lines;
  format::for_pieces(pieces, threads, [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> scratch;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t line = F::flattened ? 0 : i;
      const int64_t first = F::flattened ? i * cut : 0;
      const int64_t last = F::flattened ? std::min(groups.per_line, first + cut) : groups.per_line;
      encode_line<F>(groups, weights.data() + line * groups.width, line, first, last,
                     codes + line * groups.line_bytes, scratch, encode);
    }
  });
}

template <class F>
PackedMatrix quantize_symmetric(const FormatSpec& spec, std::span<const float> weights,
                                int64_t rows, int64_t cols, int threads) {
  PackedMatrix matrix = allocate_packed(spec, rows, cols);
  const Groups groups = format::groups_of(spec, rows, cols);
  const std::vector<float> scales =
      code_scales(matrix, symmetric_scales<F>(groups, weights, threads));
  encode_codes<F>(matrix, groups, weights, threads,
                  [&](const float* w, int64_t n, int64_t scale_index, uint8_t* codes) {
                    const float scale = scales[static_cast<size_t>(scale_index)];
                    for (int64_t i = 0; i < n; ++i)
                      codes[i] = static_cast<uint8_t>(F::encode(w[i] / scale));
                  });
  return matrix;
}

template <class F>
void pack_zeros(PackedMatrix& matrix, const Groups& groups, const std::vector<uint8_t>& zeros) {
  const int64_t lines = groups.shared ? 1 : groups.lines;
  for (int64_t line = 0; line < lines; ++line) {
    pack<F>(zeros.data() + line * groups.per_line, groups.per_line,
            matrix.zeros.as<uint8_t>() + line * groups.zero_line_bytes);
  }
}

template <class F>
PackedMatrix quantize_asymmetric(const FormatSpec& spec, std::span<const float> weights,
                                 int64_t rows, int64_t cols, int threads) {
  PackedMatrix matrix = allocate_packed(spec, rows, cols);
  const Groups groups = format::groups_of(spec, rows, cols);
  const std::vector<Range> ranges = ranges_of(groups, weights, threads);
  std::vector<float> exact(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    exact[i] =
        format::exact_scale(ranges[i].high - ranges[i].low, static_cast<float>(F::max_unsigned));
  }
  const std::vector<float> scales = code_scales(matrix, std::move(exact));
  std::vector<uint8_t> zeros(ranges.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    zeros[i] = static_cast<uint8_t>(format::zero_point<F>(ranges[i].low, scales[i]));
  }
  pack_zeros<F>(matrix, groups, zeros);
  encode_codes<F>(matrix, groups, weights, threads,
                  [&](const float* w, int64_t n, int64_t scale_index, uint8_t* codes) {
                    const float scale = scales[static_cast<size_t>(scale_index)];
                    const float zero = zeros[static_cast<size_t>(scale_index)];
                    for (int64_t i = 0; i < n; ++i) {
                      codes[i] = static_cast<uint8_t>(F::encode_unsigned(w[i] / scale, zero));
                    }
                  });
  return matrix;
}

template <class F>
PackedMatrix store_raw(const FormatSpec& spec, std::span<const float> weights, int64_t rows,
                       int64_t cols) {
  PackedMatrix matrix = allocate_packed(spec, rows, cols);
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint32_t code = F::encode(weights[i]);
    if (!std::isfinite(F::level(code))) throw_not_storable(spec, weights[i]);
    std::memcpy(matrix.codes.data() + i * (F::bits / 8), &code, F::bits / 8);  // little-endian host
  }
  return matrix;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "packed layouts are little-endian");

void throw_bad_weight(int64_t row, int64_t col, float value) {
  throw_invalid("the weight at row " + std::to_string(row) + ", column " + std::to_string(col) +
                    " is " + std::to_string(value),
                "weights must be finite and at most 1e36", "check the checkpoint");
}

void throw_not_storable(const FormatSpec& spec, float value) {
  throw_invalid("cannot store the weight " + std::to_string(value) + " as " + to_string(spec),
                "it is beyond the range of the format", "use fp32 or bf16");
}

PackedMatrix allocate_packed(const FormatSpec& spec, int64_t rows, int64_t cols,
                             device::Place place) {
  const PackedSize size = packed_size(spec, rows, cols);
  PackedMatrix matrix;
  matrix.spec = spec;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.codes = device::Buffer(size.codes, device::MemoryClass::weights, place);
  matrix.scales = device::Buffer(size.scales, device::MemoryClass::weights, place);
  matrix.zeros = device::Buffer(size.zeros, device::MemoryClass::weights, place);
  return matrix;
}

PackedMatrix quantize_rtn(const FormatSpec& spec, std::span<const float> weights, int64_t rows,
                          int64_t cols, int threads) {
  if (const std::string problem = shape_problem(spec, rows, cols); !problem.empty()) {
    throw_invalid("cannot quantize to " + to_string(spec), problem);
  }
  if (weights.size() != static_cast<uint64_t>(rows * cols)) {
    throw_invalid("cannot quantize to " + to_string(spec),
                  std::to_string(weights.size()) + " weights are given for a matrix of " +
                      std::to_string(rows) + " x " + std::to_string(cols));
  }
  check_weights(weights, cols, threads);
  return format::visit_format(spec.id, [&](auto f) {
    using F = decltype(f);
    if constexpr (!F::scaled) {
      return store_raw<F>(spec, weights, rows, cols);
    } else {
      if constexpr (F::integer) {
        if (!spec.symmetric) return quantize_asymmetric<F>(spec, weights, rows, cols, threads);
      }
      return quantize_symmetric<F>(spec, weights, rows, cols, threads);
    }
  });
}

PackedMatrix pack_raw(FormatId id, std::span<const std::byte> bytes, int64_t rows, int64_t cols,
                      device::Place place) {
  const FormatSpec spec{.id = id};
  if (has_scales(id))
    throw_invalid("cannot wrap bytes as " + to_string(spec), "it is no raw format");
  PackedMatrix matrix = allocate_packed(spec, rows, cols, place);
  if (bytes.size() != matrix.codes.size()) {
    throw_invalid("cannot wrap bytes as " + to_string(spec),
                  "expected " + std::to_string(matrix.codes.size()) + " bytes for " +
                      std::to_string(rows) + " x " + std::to_string(cols) + ", found " +
                      std::to_string(bytes.size()));
  }
  device::copy_bytes(matrix.codes.data(), place, bytes.data(), device::Place::host, bytes.size());
  return matrix;
}

PackedMatrix placed(PackedMatrix matrix, device::Place place) {
  constexpr auto weights = device::MemoryClass::weights;
  for (device::Buffer* part : {&matrix.codes, &matrix.scales, &matrix.zeros}) {
    if (part->place() != place) *part = device::copy_of(*part, weights, place);
  }
  return matrix;
}

}  // namespace qsweep::quant
