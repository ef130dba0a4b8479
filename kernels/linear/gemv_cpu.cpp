// y = W x read packed: one weight row at a time, the scales of a tile of rows decoded to a small
// buffer (one a group), its codes turned into values in registers. Threads share tiles of 16 rows.
#include <algorithm>
#include <optional>
#include <vector>

#include "kernels/common.hpp"
#include "kernels/linear/strategies.hpp"
#include "kernels/simd/row_ops.hpp"
#include "quant/format/formats.hpp"
#include "quant/format/groups.hpp"
#include "quant/format/scales.hpp"

namespace qsweep::kernels {
namespace {

using quant::PackedMatrix;

// 16 rows of a 4096-column int4 matrix are 32 kB: long enough to pay for handing out, short enough
// to balance.
constexpr int64_t row_tile = 16;

// Scales of the groups that a tile of rows touches, zero points of those that one row touches.
struct RowScratch {
  std::vector<float> scales, zeros;
  int64_t first_scale = 0;  // index of scales[0] in the matrix
};

// Rows of a group-scaled format F with scales of codec C as the inner loops want them. Both are
// types, so that decoding a scale is a few instructions: there is one every 32 to 128 weights.
template <class F, class C>
class GroupedRows {
 public:
  explicit GroupedRows(const PackedMatrix& w)
      : w_(w),
        groups_(quant::format::groups_of(w.spec, w.rows, w.cols)),
        scales_(C::reader(w.spec.scale, w.scales.as<uint8_t>(), groups_.count())) {
    if (!w.spec.symmetric) zeros_ = quant::format::zero_reader(w);
    if constexpr (F::bits == 4) {
      for (uint32_t code = 0; code < 16; ++code) {
        levels_[code] = w.spec.symmetric ? F::level(code) : static_cast<float>(code);
      }
    }
  }

  // Rows are asked for in order, in tiles of row_tile: the scales of a tile stand together in the
  // packed matrix, and decoding them in one loop lets the decodes overlap.
  GroupedRow row(int64_t r, RowScratch& scratch) const {
    if (r % row_tile == 0) decode_tile(r, std::min(r + row_tile, w_.rows), scratch);
    GroupedRow view{};
    const int64_t line = F::flattened ? 0 : r;
    const int64_t begin = F::flattened ? r * w_.cols : 0;  // first element of the row in its line
    const int64_t first_group = F::flattened ? begin / groups_.size : 0;
    view.codes = w_.codes.as<uint8_t>() + line * groups_.line_bytes;
    view.first = begin;
    view.n = w_.cols;
    view.group = groups_.size;
    view.head = F::flattened ? begin % groups_.size : 0;
    view.levels = levels_;
    view.high_first = F::high_first;
    view.scales = scratch.scales.data() + (groups_.index(line, first_group) - scratch.first_scale);
    if (zeros_) {
      const int64_t count = (view.head + w_.cols + groups_.size - 1) / groups_.size;
      scratch.zeros.resize(static_cast<size_t>(count));
      for (int64_t g = 0; g < count; ++g) {
        scratch.zeros[static_cast<size_t>(g)] = (*zeros_)(line, first_group + g);
      }
      view.zeros = scratch.zeros.data();
    }
    return view;
  }

  // Whether dot_4bit_split takes these rows.
  bool splits() const {
    const int64_t block = row_ops().split_block;
    return F::bits == 4 && w_.cols % block == 0 && groups_.size % block == 0;
  }

 private:
  // Index of the first scale that row r touches.
  int64_t first_scale(int64_t r) const {
    return F::flattened ? r * w_.cols / groups_.size : groups_.index(r, 0);
  }
  void decode_tile(int64_t begin, int64_t end, RowScratch& scratch) const {
    const int64_t last = F::flattened ? (end * w_.cols - 1) / groups_.size
                                      : groups_.index(end - 1, groups_.per_line - 1);
    scratch.first_scale = first_scale(begin);
    scratch.scales.resize(static_cast<size_t>(last - scratch.first_scale + 1));
    for (size_t i = 0; i < scratch.scales.size(); ++i) {
      scratch.scales[i] = scales_(scratch.first_scale + static_cast<int64_t>(i));
    }
  }

  const PackedMatrix& w_;
  quant::format::Groups groups_;
  typename C::Reader scales_;
  std::optional<quant::format::ZeroReader> zeros_;
  float levels_[16] = {};
};

using GroupedDot = float (*)(const GroupedRow& row, const float* x);

template <class F>
GroupedDot grouped_dot(bool split) {
  if constexpr (F::bits == 4) return split ? row_ops().dot_4bit_split : row_ops().dot_4bit;
  if constexpr (F::bits == 8 && F::integer) return row_ops().dot_int8;
  if constexpr (F::bits == 8 && !F::integer) return row_ops().dot_fp8_e4m3;
}

// Rows of an unscaled format.
template <class F>
float plain_dot(const PackedMatrix& w, int64_t row, const float* x) {
  if constexpr (F::bits == 32) {
    return row_ops().dot_fp32(w.codes.as<float>() + row * w.cols, x, w.cols);
  } else {
    const auto dot = F::id == quant::FormatId::bf16 ? row_ops().dot_bf16 : row_ops().dot_fp16;
    return dot(w.codes.as<uint16_t>() + row * w.cols, x, w.cols);
  }
}

// For each weight row and x row y = dot(weight row, x row), in tiles shared by the threads.
// `row_dot(row, scratch)` gives the function of x.
template <class RowDot>
void over_row_tiles(const device::Context& context, const LinearArgs& args, RowDot row_dot) {
  const PackedMatrix& w = *args.weight;
  const int64_t all = tiles(w.rows, row_tile);
  // Starting threads takes some 5 us, in which one core multiplies about 50 thousand weights.
  const bool worth = w.rows * w.cols >= (1 << 17);
#pragma omp parallel num_threads(threads_of(context)) if (worth)
  {
    RowScratch scratch;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < all; ++t) {
      const int64_t begin = t * row_tile, end = std::min(begin + row_tile, w.rows);
      for (int64_t o = begin; o < end; ++o) {
        const auto dot = row_dot(o, scratch);
        for (int64_t r = 0; r < args.rows; ++r) {
          args.y[r * args.ldy + o] = dot(args.x + r * args.ldx);
        }
      }
      finish_outputs(context, args, begin, end);
    }
  }
}

// x [rows, cols] as dot_4bit_split wants it.
std::vector<float> split_rows(const LinearArgs& args, bool high_first) {
  const int64_t cols = args.weight->cols;
  std::vector<float> split(static_cast<size_t>(args.rows * cols));
  for (int64_t r = 0; r < args.rows; ++r) {
    row_ops().split_pairs(args.x + r * args.ldx, cols, high_first, split.data() + r * cols);
  }
  return split;
}

template <class F, class C>
void multiply_grouped(const device::Context& context, const LinearArgs& args,
                      const GroupedRows<F, C>& rows) {
  auto dot = grouped_dot<F>(rows.splits());
  const std::vector<float> split =
      rows.splits() ? split_rows(args, F::high_first) : std::vector<float>();
  LinearArgs with = args;
  if (rows.splits()) {
    with.x = split.data();
    with.ldx = args.weight->cols;
  }
  over_row_tiles(context, with, [&](int64_t row, RowScratch& scratch) {
    return [view = rows.row(row, scratch), dot](const float* x) { return dot(view, x); };
  });
}

}  // namespace

void gemv_packed_rows(const device::Context& context, const LinearArgs& args) {
  count_linear(context, args);
  const PackedMatrix& w = *args.weight;
  quant::format::visit_format(w.spec.id, [&](auto format) {
    using F = decltype(format);
    if constexpr (F::scaled) {
      quant::format::visit_scale(w.spec.scale.id, [&](auto codec) {
        multiply_grouped(context, args, GroupedRows<F, decltype(codec)>(w));
      });
    } else {
      over_row_tiles(context, args, [&](int64_t row, RowScratch&) {
        return [&w, row](const float* x) { return plain_dot<F>(w, row, x); };
      });
    }
  });
}

}  // namespace qsweep::kernels
