// What holds for every format x codec x group of the lists, on shapes that fit nothing evenly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "quant/format/groups.hpp"
#include "quant/format/packed_hash.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

struct Shape {
  int64_t rows, cols;
};
constexpr Shape shapes[] = {{1, 1}, {3, 5}, {2, 129}, {7, 128}, {5, 200}, {1, 1024}, {33, 3}};

std::vector<float> decode_all(const PackedMatrix& matrix) {
  std::vector<float> out(static_cast<size_t>(matrix.rows * matrix.cols));
  dequantize_rows(matrix, 0, matrix.rows, out.data());
  return out;
}

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// The formula of DESIGN's "packed means packed", written once more from the comment in format.hpp.
uint64_t formula_bytes(const FormatSpec& spec, int64_t rows, int64_t cols) {
  const int64_t elements = rows * cols;
  if (spec.id == FormatId::fp32) return static_cast<uint64_t>(4 * elements);
  if (spec.id == FormatId::fp16 || spec.id == FormatId::bf16)
    return static_cast<uint64_t>(2 * elements);
  int64_t codes = elements;
  if (spec.id == FormatId::int4) codes = rows * divide_up(cols, 2);
  if (spec.id == FormatId::nf4) codes = divide_up(elements, 2);
  int64_t per_row = spec.group > 0 ? divide_up(cols, spec.group) : 1;
  int64_t zero_rows = rows;
  int64_t groups = rows * per_row;
  if (spec.group == per_tensor) groups = per_row = zero_rows = 1;
  if (spec.id == FormatId::nf4) groups = divide_up(elements, spec.group);
  int64_t scales = groups * 4;
  if (spec.scale.id == ScaleCodecId::fp16 || spec.scale.id == ScaleCodecId::bf16)
    scales = groups * 2;
  if (spec.scale.id == ScaleCodecId::e5m) {
    scales = divide_up(groups * (5 + spec.scale.mantissa_bits + (spec.scale.sign_bit ? 1 : 0)), 8);
  }
  if (spec.scale.id == ScaleCodecId::dq8) scales = groups + 4 * divide_up(groups, 256) + 4;
  int64_t zeros = 0;
  if (!spec.symmetric)
    zeros = zero_rows * (spec.id == FormatId::int4 ? divide_up(per_row, 2) : per_row);
  return static_cast<uint64_t>(codes + scales + zeros);
}

TEST(Property, PackedSizeIsTheFormulaToTheByte) {
  for (const FormatSpec& spec : all_specs()) {
    for (const auto [rows, cols] : shapes) {
      const PackedMatrix packed = quantize_rtn(spec, gaussian(rows * cols, 1), rows, cols);
      const PackedSize size = packed_size(spec, rows, cols);
      ASSERT_EQ(size.total(), formula_bytes(spec, rows, cols))
          << to_string(spec) << rows << "x" << cols;
      ASSERT_EQ(packed.codes.size(), size.codes);
      ASSERT_EQ(packed.scales.size(), size.scales);
      ASSERT_EQ(packed.zeros.size(), size.zeros);
      ASSERT_EQ(packed.bytes(), size.total());
    }
  }
}

TEST(Property, PublishedShapesTakeThePublishedBits) {
  // Phi-3.5 gate_up_proj, int4 g128: 4 bits and 16 (fp16), 11 (e5m5), 6 (e5m0) bits a 128 weights.
  const auto bits = [](ScaleCodec scale, FormatId id = FormatId::int4, int64_t group = 128) {
    const FormatSpec spec{id, group, true, scale};
    return static_cast<double>(packed_size(spec, 16384, 3072).total()) * 8 / (16384.0 * 3072);
  };
  EXPECT_DOUBLE_EQ(
      bits({.id = ScaleCodecId::fp16, .mantissa_bits = 0, .sign_bit = true, .rounding = {}}),
      4.125);
  EXPECT_DOUBLE_EQ(bits({ScaleCodecId::e5m, 5, true, {}}), 4 + 11.0 / 128);
  EXPECT_DOUBLE_EQ(bits({ScaleCodecId::e5m, 0, true, {}}), 4 + 6.0 / 128);
  // nf4 + double quantization: 4.127 bits a weight.
  EXPECT_NEAR(bits({ScaleCodecId::dq8, 0, true, {}}, FormatId::nf4, 64), 4.127, 5e-4);
}

// Levels of a format in ascending order, as a table over all the codes that are ever written (int8
// has no -128).
template <class F>
requires(F::bits <= 8) std::vector<float> levels_of(bool symmetric) {
  std::vector<float> levels;
  for (uint32_t code = 0; code < (1u << F::bits); ++code) {
    if constexpr (F::integer) {
      if (!symmetric) {
        levels.push_back(F::unsigned_level(code));
        continue;
      }
      if (F::level(code) < F::lowest) continue;
    }
    levels.push_back(F::level(code));
  }
  std::erase_if(levels, [](float level) { return std::isnan(level); });
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
}

// Half the distance of the two levels around x, or no bound where x lies outside (clipped).
double half_step(const std::vector<float>& levels, double x) {
  const auto above = std::lower_bound(levels.begin(), levels.end(), x);
  if (above == levels.end() || (above == levels.begin() && *above != x)) return HUGE_VAL;
  if (*above == x) return 0;
  return (static_cast<double>(*above) - *(above - 1)) / 2;
}

// |w - decoded| <= half a step of the grid that the decoded scale and zero span. The allowance
// covers the fp32 roundings of w / scale, level * scale and (nf4) of thresholds that stand for
// exact midpoints: 2^-22 of the largest number involved.
void check_half_steps(const FormatSpec& spec, int64_t rows, int64_t cols,
                      const std::vector<float>& w) {
  const PackedMatrix packed = quantize_rtn(spec, w, rows, cols);
  const std::vector<float> values = decode_all(packed);
  const format::Groups groups = format::groups_of(spec, rows, cols);
  const format::ScaleReader scale_of(packed);
  const auto levels = format::visit_format(spec.id, [&](auto f) {
    if constexpr (decltype(f)::bits <= 8) return levels_of<decltype(f)>(spec.symmetric);
    return std::vector<float>{};
  });
  for (int64_t i = 0; i < rows * cols; ++i) {
    const int64_t line = i / groups.width, g = i % groups.width / groups.size;
    const double scale = scale_of(groups.index(line, g));
    const double zero = spec.symmetric ? 0 : format::zero_reader(packed)(line, g);
    const double x = w[static_cast<size_t>(i)] / scale + zero;
    const double bound = half_step(levels, x);
    const double error =
        std::fabs(static_cast<double>(w[static_cast<size_t>(i)]) - values[static_cast<size_t>(i)]);
    const double allowance = 0x1p-22 * (std::fabs(x) + zero + 1) * scale;
    ASSERT_LE(error, bound * scale + allowance)
        << to_string(spec) << " element " << i << " w " << w[static_cast<size_t>(i)];
  }
}

TEST(Property, DecodedIsWithinHalfAStepWhereNotClipped) {
  for (const FormatSpec& spec : all_specs()) {
    // dq8 codes are chosen against the exact scale, so the decoded grid is another one; its error
    // is tested below.
    if (!has_scales(spec.id) || spec.scale.id == ScaleCodecId::dq8) continue;
    check_half_steps(spec, 5, 200, gaussian(1000, 7));
  }
}

TEST(Property, RoundingUpNeverClips) {
  for (const FormatSpec& spec : all_specs()) {
    if (!has_scales(spec.id) || !spec.symmetric || spec.scale.rounding != ScaleRounding::up)
      continue;
    const std::vector<float> w = gaussian(1000, 11);
    const PackedMatrix packed = quantize_rtn(spec, w, 5, 200);
    const std::vector<float> values = decode_all(packed);
    const double range =
        format::visit_format(spec.id, [](auto f) { return double{decltype(f)::range}; });
    const format::Groups groups = format::groups_of(spec, 5, 200);
    const format::ScaleReader scale_of(packed);
    for (int64_t i = 0; i < 1000; ++i) {
      const double scale = scale_of(groups.index(i / groups.width, i % groups.width / groups.size));
      ASSERT_LE(std::fabs(w[static_cast<size_t>(i)]), range * scale * (1 + 0x1p-22))
          << to_string(spec);
    }
  }
}

// dq8: each decoded scale is within the widest half interval of the map (0.9/64/2 of the block's
// absmax, and half the gap of 1 to its neighbour, which is no wider), and weights follow with it.
TEST(Property, Dq8ScalesAreNear) {
  const FormatSpec exact{FormatId::nf4, 64, true, {}};
  FormatSpec coded = exact;
  coded.scale.id = ScaleCodecId::dq8;
  const std::vector<float> w = gaussian(128 * 512, 5);
  const PackedMatrix a = quantize_rtn(exact, w, 128, 512), b = quantize_rtn(coded, w, 128, 512);
  EXPECT_TRUE(std::equal(a.codes.bytes().begin(), a.codes.bytes().end(), b.codes.bytes().begin()));
  const std::vector<float> scales = decode_scales(a), decoded = decode_scales(b);
  double mean = 0;
  for (const float s : scales) mean += s;
  mean /= static_cast<double>(scales.size());
  for (size_t begin = 0; begin < scales.size(); begin += 256) {
    double absmax = 0;
    for (size_t i = begin; i < begin + 256; ++i)
      absmax = std::max(absmax, std::fabs(scales[i] - mean));
    for (size_t i = begin; i < begin + 256; ++i) {
      EXPECT_LE(std::fabs(scales[i] - decoded[i]), absmax * (0.9 / 64 / 2) * (1 + 1e-4));
    }
  }
}

TEST(Property, AllZeroWeightsDecodeToZero) {
  for (const FormatSpec& spec : all_specs()) {
    const PackedMatrix packed = quantize_rtn(spec, std::vector<float>(15, 0.0f), 3, 5);
    for (const float value : decode_all(packed)) ASSERT_EQ(value, 0.0f) << to_string(spec);
  }
}

TEST(Property, AnyRowsDecodeAsTheWholeDoes) {
  for (const FormatSpec& spec : all_specs()) {
    const PackedMatrix packed = quantize_rtn(spec, gaussian(7 * 37, 2), 7, 37);
    const std::vector<float> whole = decode_all(packed);
    for (const int64_t first : {0, 1, 4}) {
      std::vector<float> part(3 * 37);
      dequantize_rows(packed, first, 3, part.data());
      ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first * 37))
          << to_string(spec);
    }
  }
}

TEST(Property, ThreadsDoNotChangeBytes) {
  for (const FormatSpec& spec : all_specs({per_channel, per_tensor, 64, 7})) {
    if (spec.scale.id == ScaleCodecId::e5m && spec.scale.mantissa_bits % 5 != 0)
      continue;  // a third is enough
    const std::vector<float> w = gaussian(37 * 131, 9);
    const std::string one = packed_hash(quantize_rtn(spec, w, 37, 131, 1));
    for (const int threads : {2, 3, 8}) {
      ASSERT_EQ(packed_hash(quantize_rtn(spec, w, 37, 131, threads)), one) << to_string(spec);
    }
  }
}

}  // namespace
}  // namespace qsweep::quant
