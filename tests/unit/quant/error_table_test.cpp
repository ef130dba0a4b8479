// The error table by hand, and the SQNR band against weights of several distributions.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include "quant/error_table.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

double sqnr_db(const TensorError& error) {
  return -10 * std::log10(error.relative_mse);
}

TEST(ErrorTable, ByHand) {
  // int4 in groups of 2, scale 1 and 2: errors 0, 0.25 | 0, -0.5.
  const std::vector<float> w = {7, 1.25f, 14, 3.5f};
  const TensorError error =
      measure_error("t", 3, quantize_rtn({FormatId::int4, 2, true, {}}, w, 1, 4), w);
  const double e0 = 0.0625, e1 = 0.25, w0 = 49 + 1.5625, w1 = 196 + 12.25;
  EXPECT_DOUBLE_EQ(error.relative_mse, (e0 + e1) / (w0 + w1));
  EXPECT_DOUBLE_EQ(error.worst_group, std::max(e0 / w0, e1 / w1));
  const double product = 49 + 1.25 + 196 + 14, decoded = 49 + 1 + 196 + 16;
  EXPECT_DOUBLE_EQ(error.cosine, product / (std::sqrt(w0 + w1) * std::sqrt(decoded)));
  EXPECT_EQ(error.code_bytes, 2u);
  EXPECT_EQ(error.scale_bytes, 8u);
  EXPECT_EQ(error.layer, 3);
  EXPECT_EQ(error.tensor, "t");
}

TEST(ErrorTable, GroupsThatCrossRowsAndSharedScales) {
  const std::vector<float> w = {4, 0.5f, 0, 0, 0, 1};  // nf4 blocks of 4 over 2 x 3
  const TensorError nf4 =
      measure_error("t", 0, quantize_rtn({FormatId::nf4, 4, true, {}}, w, 2, 3), w);
  const double error =
      std::pow(0.5 - 4 * 0.16093020141124725, 2);  // 0.125 lies above the threshold 0.1203
  EXPECT_NEAR(nf4.worst_group, error / 16.25, 1e-9);
  EXPECT_NEAR(nf4.relative_mse, error / 17.25, 1e-9);
  const TensorError tensor =
      measure_error("t", 0, quantize_rtn({FormatId::int8, per_tensor, true, {}}, w, 2, 3), w);
  EXPECT_DOUBLE_EQ(tensor.worst_group, tensor.relative_mse);
}

TEST(ErrorTable, ExactAndEmptyMatrices) {
  const std::vector<float> zeros(32, 0.0f);
  const TensorError none =
      measure_error("t", 0, quantize_rtn({FormatId::int4, 8, true, {}}, zeros, 2, 16), zeros);
  EXPECT_EQ(none.relative_mse, 0);
  EXPECT_EQ(none.worst_group, 0);
  EXPECT_EQ(none.cosine, 1);
  // Zero weights that decode to something are all wrong.
  const std::vector<float> ones(32, 1.0f);
  const TensorError wrong =
      measure_error("t", 0, quantize_rtn({FormatId::int4, 8, true, {}}, ones, 2, 16), zeros);
  EXPECT_EQ(wrong.relative_mse, std::numeric_limits<double>::infinity());
}

// ---- bands

using Draw = std::function<float(std::mt19937&)>;
struct Distribution {
  const char* name;
  Draw draw;
};

const std::vector<Distribution>& distributions() {
  static const std::vector<Distribution> list = {
      {"gaussian", [](std::mt19937& g) { return std::normal_distribution<float>(0, 0.02f)(g); }},
      {"laplace",
       [](std::mt19937& g) {
         const float magnitude = std::exponential_distribution<float>(50)(g);
         return g() % 2 == 0 ? magnitude : -magnitude;
       }},
      {"student_t5",
       [](std::mt19937& g) { return 0.02f * std::student_t_distribution<float>(5)(g); }},
      {"uniform",
       [](std::mt19937& g) { return std::uniform_real_distribution<float>(-0.05f, 0.05f)(g); }},
  };
  return list;
}

std::vector<float> draw_matrix(const Distribution& distribution, int64_t rows, int64_t cols) {
  std::mt19937 generator(42);
  std::vector<float> w(static_cast<size_t>(rows * cols));
  for (float& value : w) value = distribution.draw(generator);
  return w;
}

// Scales of these weights are 1e-4 .. 1e-2 but int8's and fp8's may fall below e5m's 2^-15, which
// is outside the band by intent; so e5m bands of the 8-bit formats are checked on weights 256 times
// as large.
float magnify(const FormatSpec& spec) {
  return spec.scale.id == ScaleCodecId::e5m && code_bits(spec.id) == 8 ? 256.0f : 1.0f;
}

TEST(SqnrBand, HoldsForEveryFormatOnPlausibleWeights) {
  constexpr int64_t rows = 32, cols = 512;
  for (const Distribution& distribution : distributions()) {
    const std::vector<float> drawn = draw_matrix(distribution, rows, cols);
    for (const FormatSpec& spec : all_specs({per_channel, per_tensor, 256, 128, 64, 32, 16})) {
      std::vector<float> w = drawn;
      for (float& value : w) value *= magnify(spec);
      const double db = sqnr_db(measure_error("t", 0, quantize_rtn(spec, w, rows, cols), w));
      const SqnrBand band = sqnr_band(spec, cols);
      EXPECT_GE(db, band.low_db) << distribution.name << " " << to_string(spec);
      EXPECT_LE(db, band.high_db) << distribution.name << " " << to_string(spec);
    }
  }
}

TEST(SqnrBand, AnOutlierPerRowStaysInside) {
  std::vector<float> w = gaussian(16 * 2048, 4);
  for (size_t row = 0; row < 16; ++row) w[row * 2048 + 17 * row] = 0.6f;  // 30 sigma
  for (const FormatSpec& spec :
       {FormatSpec{FormatId::int4, 128, true, {}},
        FormatSpec{FormatId::int8, per_channel, true, {}},
        FormatSpec{FormatId::nf4, 64, true, {ScaleCodecId::dq8, 0, true, {}}}}) {
    const double db = sqnr_db(measure_error("t", 0, quantize_rtn(spec, w, 16, 2048), w));
    EXPECT_GE(db, sqnr_band(spec, 2048).low_db) << to_string(spec);
    EXPECT_LE(db, sqnr_band(spec, 2048).high_db) << to_string(spec);
  }
}

// Weights that were never quantized, or quantized more finely than promised, are too good for the
// band.
TEST(SqnrBand, ImplausiblyGoodFalls) {
  const std::vector<float> w = gaussian(32 * 512, 6);
  const auto db = [&](const FormatSpec& spec) {
    return sqnr_db(measure_error("t", 0, quantize_rtn(spec, w, 32, 512), w));
  };
  const double bf16 = db({FormatId::bf16, per_channel, true, {}});
  const double int8 = db({FormatId::int8, 128, true, {}});
  const double fp8 = db({FormatId::fp8_e4m3, per_channel, true, {}});
  for (const FormatSpec& spec : all_specs({per_channel, 128, 64})) {
    if (!has_scales(spec.id)) continue;
    const SqnrBand band = sqnr_band(spec, 512);
    EXPECT_GT(std::numeric_limits<double>::infinity(), band.high_db);  // bit-exact copies
    const bool coarse_scale = spec.scale.id == ScaleCodecId::e5m && spec.scale.mantissa_bits == 0;
    EXPECT_TRUE(coarse_scale || bf16 > band.high_db) << to_string(spec);
    EXPECT_TRUE(code_bits(spec.id) != 4 || int8 > band.high_db) << to_string(spec);
    EXPECT_TRUE(spec.id != FormatId::nf4 || coarse_scale || fp8 > band.high_db) << to_string(spec);
  }
}

// A decoder that mixes up nibbles or rows yields weights unrelated to the originals.
TEST(SqnrBand, GarbageFalls) {
  const std::vector<float> w = gaussian(32 * 512, 8);
  for (const FormatSpec& spec : all_specs({per_channel, 128, 64})) {
    if (!has_scales(spec.id) || code_bits(spec.id) != 4) continue;
    PackedMatrix packed = quantize_rtn(spec, w, 32, 512);
    for (size_t i = 0; i < packed.codes.size(); ++i) {
      const auto byte = static_cast<unsigned>(packed.codes.data()[i]);
      packed.codes.data()[i] = static_cast<std::byte>((byte << 4 | byte >> 4) & 0xFF);
    }
    EXPECT_LT(sqnr_db(measure_error("t", 0, packed, w)), sqnr_band(spec, 512).low_db)
        << to_string(spec);
  }
}

}  // namespace
}  // namespace qsweep::quant
