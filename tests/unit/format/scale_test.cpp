// Scale codecs: hand-written codes and values, roundings, saturation, the bit stream and the
// dynamic map.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/rng.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

using format::ScaleDq8;
using format::ScaleE5m;

uint32_t e5m(float scale, int mantissa_bits, ScaleRounding rounding = ScaleRounding::published) {
  return ScaleE5m::encode_one(scale, mantissa_bits, rounding);
}
float e5m_value(uint32_t code, int mantissa_bits) {
  return format::E5mScaleReader::value(code, mantissa_bits);
}

ScaleCodec e5m_codec(int mantissa_bits, bool sign,
                     ScaleRounding rounding = ScaleRounding::published) {
  return {ScaleCodecId::e5m, mantissa_bits, sign, rounding};
}

TEST(ScaleE5m, ValuesByHand) {
  EXPECT_EQ(e5m_value(15, 0), 1.0f);
  EXPECT_EQ(e5m_value(0, 0), 0x1p-15f);
  EXPECT_EQ(e5m_value(31, 0), 0x1p16f);
  EXPECT_EQ(e5m_value(15 << 3 | 5, 3), 1.625f);
  EXPECT_EQ(e5m_value(8 << 5 | 1, 5), 0x1p-7f * (1 + 1.0f / 32));
  EXPECT_EQ(e5m_value((31 << 10) | 1023, 10), 0x1p16f * (2 - 1.0f / 1024));
}

TEST(ScaleE5m, PublishedTruncatesAtZeroBitsAndElseCarries) {
  EXPECT_EQ(e5m_value(e5m(1.999f, 0), 0), 1.0f);
  EXPECT_EQ(e5m_value(e5m(2.0f, 0), 0), 2.0f);
  EXPECT_EQ(e5m_value(e5m(1.9375f, 3), 3),
            2.0f);  // m = 7.5 eighths: tie to 8, carry into the exponent
  EXPECT_EQ(e5m_value(e5m(1.0625f, 3), 3), 1.0f);   // m = 0.5 eighths: tie to 0
  EXPECT_EQ(e5m_value(e5m(1.1875f, 3), 3), 1.25f);  // m = 1.5 eighths: tie to 2
  // A float below a power of two stays below it: log2 in fp32 would say 1.0 here.
  EXPECT_EQ(e5m_value(e5m(std::nextafter(2.0f, 0.0f), 0), 0), 1.0f);
}

TEST(ScaleE5m, NearestAtZeroBitsTiesToTheEvenExponentField) {
  EXPECT_EQ(e5m_value(e5m(1.499f, 0, ScaleRounding::nearest), 0), 1.0f);
  EXPECT_EQ(e5m_value(e5m(1.501f, 0, ScaleRounding::nearest), 0), 2.0f);
  EXPECT_EQ(e5m_value(e5m(1.5f, 0, ScaleRounding::nearest), 0),
            2.0f);  // fields 15 and 16: 16 is even
  EXPECT_EQ(e5m_value(e5m(3.0f, 0, ScaleRounding::nearest), 0), 2.0f);  // fields 16 and 17
}

TEST(ScaleE5m, UpIsNeverBelow) {
  EXPECT_EQ(e5m_value(e5m(1.0f, 3, ScaleRounding::up), 3), 1.0f);
  EXPECT_EQ(e5m_value(e5m(std::nextafter(1.0f, 2.0f), 3, ScaleRounding::up), 3), 1.125f);
  EXPECT_EQ(e5m_value(e5m(1.9f, 0, ScaleRounding::up), 0), 2.0f);
}

TEST(ScaleE5m, SaturatesAtBothEnds) {
  for (const auto& [rounding, name] : enum_names<ScaleRounding>) {
    for (int k = 0; k <= 10; ++k) {
      EXPECT_EQ(e5m(1.43e-9f, k, rounding), 0u) << name << k;
      EXPECT_EQ(e5m(0.0f, k, rounding), 0u) << name << k;
      EXPECT_EQ(e5m(1e30f, k, rounding), (32u << k) - 1) << name << k;
    }
  }
}

TEST(ScaleE5m, EveryCodeSurvivesAndErrorsStayInTheirBound) {
  for (int k = 0; k <= 10; ++k) {
    for (uint32_t code = 0; code < (32u << k); ++code) {
      for (const auto& [rounding, name] : enum_names<ScaleRounding>) {
        ASSERT_EQ(e5m(e5m_value(code, k), k, rounding), code) << name << " k=" << k;
      }
    }
    const double ulp = std::ldexp(1.0, -k);  // relative to 2^e
    std::mt19937 generator(k);
    std::uniform_real_distribution<float> exponent(-14.9f, 15.9f);
    for (int i = 0; i < 2000; ++i) {
      const float s = std::exp2(exponent(generator));
      const double power = std::exp2(std::floor(std::log2(static_cast<double>(s))));
      const double nearest = e5m_value(e5m(s, k, ScaleRounding::nearest), k);
      const double up = e5m_value(e5m(s, k, ScaleRounding::up), k);
      const double published = e5m_value(e5m(s, k), k);
      EXPECT_LE(std::fabs(nearest - s), ulp * power / 2);
      EXPECT_GE(up, s);
      EXPECT_LT(up - s, ulp * power);
      if (k == 0) {
        EXPECT_LE(published, s);
        EXPECT_GT(published, s / 2);
      } else {
        EXPECT_EQ(published, nearest);
      }
    }
  }
}

TEST(ScaleE5m, BitStreamByHand) {
  // 1-5-0 codes of 6 bits, least significant first: 15, 16, 17 -> 001111 | 010000 | 010001
  const std::vector<float> scales = {1, 2, 4};
  std::vector<uint8_t> stream(ScaleE5m::bytes(e5m_codec(0, true), 3));
  ScaleE5m::encode(e5m_codec(0, true), scales, stream.data());
  EXPECT_EQ(stream, (std::vector<uint8_t>{0b00001111, 0b00010100, 0b01}));
  // Without the sign 5 bits: 01111 | 10000 | 10001
  stream.assign(ScaleE5m::bytes(e5m_codec(0, false), 3), 0xFF);
  ScaleE5m::encode(e5m_codec(0, false), scales, stream.data());
  EXPECT_EQ(stream, (std::vector<uint8_t>{0b00001111, 0b01000110}));
}

TEST(ScaleE5m, StreamsOfEveryWidthReadBack) {
  for (int k = 0; k <= 10; ++k) {
    for (const bool sign : {true, false}) {
      const ScaleCodec codec = e5m_codec(k, sign);
      EXPECT_EQ(scale_bits(codec), 5 + k + (sign ? 1 : 0));
      for (int64_t count = 1; count < 40; ++count) {
        std::vector<float> scales;
        for (int64_t i = 0; i < count; ++i) {
          scales.push_back(e5m_value(
              static_cast<uint32_t>(splitmix64(static_cast<uint64_t>(i)) % (32u << k)), k));
        }
        std::vector<uint8_t> stream(ScaleE5m::bytes(codec, count));
        EXPECT_EQ(stream.size(), static_cast<size_t>((count * scale_bits(codec) + 7) / 8));
        ScaleE5m::encode(codec, scales, stream.data());
        const auto reader = ScaleE5m::reader(codec, stream.data(), count);
        for (int64_t i = 0; i < count; ++i) ASSERT_EQ(reader(i), scales[static_cast<size_t>(i)]);
      }
    }
  }
}

TEST(ScaleRaw, Fp16StaysPositiveAndFinite) {
  const std::vector<float> scales = {1e-9f, 0.5f, 1e9f};
  std::vector<uint8_t> bytes(6);
  format::ScaleFp16::encode({}, scales, bytes.data());
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0x01, 0x00, 0x00, 0x38, 0xFF, 0x7B}));
  const auto reader = format::ScaleFp16::reader({}, bytes.data(), 3);
  EXPECT_EQ(reader(0), 0x1p-24f);
  EXPECT_EQ(reader(2), 65504.0f);
}

TEST(ScaleDq8, MapIsTheSignedDynamicMap) {
  const auto& map = format::dynamic_map;
  EXPECT_TRUE(std::is_sorted(map.begin(), map.end()));
  EXPECT_EQ(std::set<float>(map.begin(), map.end()).size(), 256u);
  EXPECT_EQ(map[127], 0.0f);
  EXPECT_EQ(map[255], 1.0f);
  // Last decade: midpoints of 64 parts of [0.1, 1], width 0.9/64: the topmost is 1 - 0.45/64 =
  // 0.99296875.
  EXPECT_NEAR(map[254], 0.99296875, 1e-7);
  EXPECT_NEAR(map[0], -0.99296875, 1e-7);
  // First decade: one part, midpoint 0.55e-6.
  EXPECT_NEAR(map[128], 0.55e-6, 1e-13);
  EXPECT_NEAR(map[126], -0.55e-6, 1e-13);
  for (size_t i = 0; i < 127; ++i) EXPECT_EQ(map[i], -map[254 - i]);
}

TEST(ScaleDq8, NearestWithTiesToTheEvenIndex) {
  const auto& map = format::dynamic_map;
  for (unsigned i = 0; i < 255; ++i) {
    EXPECT_EQ(ScaleDq8::encode_one(map[i]), i);
    const float midpoint = (map[i] + map[i + 1]) * 0.5f;
    EXPECT_EQ(ScaleDq8::encode_one(midpoint), i % 2 == 0 ? i : i + 1);
    EXPECT_EQ(ScaleDq8::encode_one(std::nextafter(midpoint, 2.0f)), i + 1);
    EXPECT_EQ(ScaleDq8::encode_one(std::nextafter(midpoint, -2.0f)), i);
  }
}

TEST(ScaleDq8, LayoutByHand) {
  // Scales 1, 3: offset 2, residuals -1, 1, absmax 1: indices of -1 (0: the map ends at -0.993) and
  // 1 (255).
  const std::vector<float> scales = {1, 3};
  std::vector<uint8_t> bytes(ScaleDq8::bytes({}, 2));
  ASSERT_EQ(bytes.size(), 10u);
  ScaleDq8::encode({}, scales, bytes.data());
  EXPECT_EQ(bytes, (std::vector<uint8_t>{0, 255, 0, 0, 0x80, 0x3F, 0, 0, 0, 0x40}));
  const auto reader = ScaleDq8::reader({}, bytes.data(), 2);
  EXPECT_EQ(reader(0), format::dynamic_map[0] + 2.0f);
  EXPECT_EQ(reader(1), 3.0f);
}

TEST(ScaleDq8, EqualScalesAreExact) {
  const std::vector<float> scales(300, 0.125f);
  std::vector<uint8_t> bytes(ScaleDq8::bytes({}, 300));
  EXPECT_EQ(bytes.size(), 300u + 2 * 4 + 4);
  ScaleDq8::encode({}, scales, bytes.data());
  const auto reader = ScaleDq8::reader({}, bytes.data(), 300);
  for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(reader(i), 0.125f);
}

}  // namespace
}  // namespace qsweep::quant
