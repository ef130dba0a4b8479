// Packed layouts checked by hand: matrices small enough that every byte can be worked out on paper.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.hpp"
#include "quant/format/groups.hpp"
#include "quant/format/packed_hash.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

FormatSpec spec_of(FormatId id, int64_t group, bool symmetric = true, ScaleCodec scale = {}) {
  return {id, group, symmetric, scale};
}

std::vector<int> bytes_of(const device::Buffer& buffer) {
  std::vector<int> bytes;
  for (const std::byte byte : buffer.bytes()) bytes.push_back(static_cast<int>(byte));
  return bytes;
}

std::vector<float> decoded(const PackedMatrix& matrix) {
  std::vector<float> out(static_cast<size_t>(matrix.rows * matrix.cols));
  dequantize_rows(matrix, 0, matrix.rows, out.data());
  return out;
}

using Ints = std::vector<int>;
using Floats = std::vector<float>;

TEST(Layout, Int4PairsEvenColumnLowAndPadsEachRow) {
  // absmax 7 -> scale 1 exactly; codes are the weights themselves in two's complement.
  const Floats w = {7, -1, 3, /* row 1 */ -7, 2, -3};
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::int4, per_channel), w, 2, 3);
  EXPECT_EQ(bytes_of(packed.codes), (Ints{0xF7, 0x03, 0x29, 0x0D}));
  EXPECT_EQ(bytes_of(packed.scales), (Ints{0, 0, 0x80, 0x3F, 0, 0, 0x80, 0x3F}));  // 1.0f twice
  EXPECT_TRUE(bytes_of(packed.zeros).empty());
  EXPECT_EQ(decoded(packed), w);
}

TEST(Layout, Int4RoundsTiesToEven) {
  const Floats w = {7, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0};
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::int4, per_channel), w, 1, 8);
  EXPECT_EQ(decoded(packed), (Floats{7, 0, 2, 2, 0, -2, -2, 0}));
}

TEST(Layout, Int4GroupsWithAShortLastOne) {
  const Floats w = {7, 0, 0, 14, 2, 3.5f, -1};  // groups of 3: scales 1, 2, 1/7
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::int4, 3), w, 1, 7);
  EXPECT_EQ(packed.groups_per_row(), 3);
  EXPECT_EQ(decode_scales(packed), (Floats{1, 2, 1.0f / 7}));
  // 3.5 / 2 = 1.75 -> 2; -1 / (1/7) -> -7
  EXPECT_EQ(bytes_of(packed.codes), (Ints{0x07, 0x70, 0x21, 0x09}));
  EXPECT_EQ(decoded(packed), (Floats{7, 0, 0, 14, 2, 4, -7 * (1.0f / 7)}));
}

TEST(Layout, Int4AsymmetricHasZeroPointsPackedByRow) {
  // Group 0 of row 0: -5..10 -> scale 1, zero 5. Group 1: 0..15 (0 is forced in) -> scale 1, zero
  // 0. Group 2: -15..0 -> scale 1, zero 15. Row 1 alike with zeros 5, 5, 5.
  const Floats w = {-5, 10, 3, 15, -15, -2, /* row 1 */ -5, 10, -5, 10, 10, -5};
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::int4, 2, false), w, 2, 6);
  EXPECT_EQ(bytes_of(packed.codes), (Ints{0xF0, 0xF3, 0xD0, 0xF0, 0xF0, 0x0F}));
  EXPECT_EQ(bytes_of(packed.zeros), (Ints{0x05, 0x0F, 0x55, 0x05}));
  EXPECT_EQ(decoded(packed), w);
  const format::ZeroReader zero = format::zero_reader(packed);
  EXPECT_EQ(zero(0, 0), 5);
  EXPECT_EQ(zero(0, 1), 0);
  EXPECT_EQ(zero(0, 2), 15);
  EXPECT_EQ(zero(1, 2), 5);
}

TEST(Layout, Int8IsAByteAndNeverMinus128) {
  const Floats w = {127, -127, -1, 64};
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::int8, per_tensor), w, 2, 2);
  EXPECT_EQ(bytes_of(packed.codes), (Ints{127, 129, 255, 64}));
  EXPECT_EQ(decode_scales(packed), (Floats{1}));
  EXPECT_EQ(decoded(packed), w);
  // An e5m0 scale may be half the exact one; then the code saturates at -127, not -128.
  const FormatSpec coarse =
      spec_of(FormatId::int8, per_channel, true,
              {.id = ScaleCodecId::e5m, .mantissa_bits = 0, .sign_bit = true, .rounding = {}});
  const PackedMatrix clipped = quantize_rtn(coarse, Floats{-254 * 0.999f}, 1, 1);
  EXPECT_EQ(decode_scales(clipped), (Floats{1}));
  EXPECT_EQ(bytes_of(clipped.codes), (Ints{129}));
}

TEST(Layout, Int8Asymmetric) {
  const Floats w = {-100, 155, 0, 3};  // scale 1, zero 100
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::int8, per_channel, false), w, 1, 4);
  EXPECT_EQ(bytes_of(packed.codes), (Ints{0, 255, 100, 103}));
  EXPECT_EQ(bytes_of(packed.zeros), (Ints{100}));
  EXPECT_EQ(decoded(packed), w);
}

TEST(Layout, Fp8) {
  // absmax 448 -> scale 1. 448 = 0x7E, 1 = 0x38, 2^-9 = 0x01, 1.125 = 0x39, tie 1.0625 -> even
  // 0x38.
  const Floats w = {448, -1, 0.001953125f, 1.125f, 1.0625f, 0};
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::fp8_e4m3, per_channel), w, 1, 6);
  EXPECT_EQ(bytes_of(packed.codes), (Ints{0x7E, 0xB8, 0x01, 0x39, 0x38, 0x00}));
  EXPECT_EQ(decoded(packed), (Floats{448, -1, 0.001953125f, 1.125f, 1, 0}));
}

TEST(Layout, Nf4FlattensRowsAndPutsTheFirstOfAPairHigh) {
  // 2 x 3 in blocks of 4: block 0 = {2, -2, 0, 1}, block 1 = {4, 4 * 0.0795803}.
  const Floats w = {2, -2, 0, 1, 4, 4 * 0.07958029955625534f};
  const PackedMatrix packed = quantize_rtn(spec_of(FormatId::nf4, 4), w, 2, 3);
  // 1/2 = 0.5 lies between 0.4407 (12) and 0.5626 (13), below the threshold 0.50166 -> 12.
  EXPECT_EQ(bytes_of(packed.codes), (Ints{0xF0, 0x7C, 0xF8}));
  EXPECT_EQ(decode_scales(packed), (Floats{2, 4}));
  EXPECT_EQ(decoded(packed),
            (Floats{2, -2, 0, 0.44070982933044434f * 2, 4, 4 * 0.07958029955625534f}));
  Floats row(3);
  dequantize_rows(packed, 1, 1, row.data());
  EXPECT_EQ(row, (Floats{0.44070982933044434f * 2, 4, 4 * 0.07958029955625534f}));
}

TEST(Layout, Nf4TakesTheLowerLevelOnTheThreshold) {
  const float threshold = 0.1202552504837513f;
  EXPECT_EQ(format::Nf4::encode(threshold), 8u);
  EXPECT_EQ(format::Nf4::encode(std::nextafter(threshold, 1.0f)), 9u);
  EXPECT_EQ(format::Nf4::encode(-1.0f), 0u);
  EXPECT_EQ(format::Nf4::encode(0.0f), 7u);
}

TEST(Layout, RawFormats) {
  const Floats w = {1, -2, 0.15625f};
  EXPECT_EQ(bytes_of(quantize_rtn(spec_of(FormatId::bf16, per_channel), w, 1, 3).codes),
            (Ints{0x80, 0x3F, 0x00, 0xC0, 0x20, 0x3E}));
  EXPECT_EQ(bytes_of(quantize_rtn(spec_of(FormatId::fp16, per_channel), w, 3, 1).codes),
            (Ints{0x00, 0x3C, 0x00, 0xC0, 0x00, 0x31}));
  const PackedMatrix fp32 = quantize_rtn(spec_of(FormatId::fp32, per_channel), w, 1, 3);
  EXPECT_EQ(decoded(fp32), w);
  EXPECT_EQ(fp32.groups_per_row(), 0);
  EXPECT_TRUE(decode_scales(fp32).empty());
}

TEST(Layout, Fp16RowsDecodeEveryBitPattern) {
  std::vector<uint16_t> codes(65536);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint16_t>(i);
  for (const FormatId id : {FormatId::fp16, FormatId::bf16}) {
    const PackedMatrix packed = pack_raw(id, std::as_bytes(std::span(codes)), 16, 4096);
    const Floats values = decoded(packed);
    for (size_t i = 0; i < codes.size(); ++i) {
      const float expected =
          id == FormatId::fp16 ? fp16_to_float(codes[i]) : bf16_to_float(codes[i]);
      ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected))
          << name_of(id) << " " << i;
    }
  }
}

TEST(Layout, NamesForPeopleAndKernels) {
  ScaleCodec e5m5{.id = ScaleCodecId::e5m, .mantissa_bits = 5, .sign_bit = true, .rounding = {}};
  EXPECT_EQ(to_string(spec_of(FormatId::int4, 128, true, e5m5)), "int4 g128 e5m5");
  EXPECT_EQ(to_string(spec_of(FormatId::int8, per_channel)), "int8 channel fp32");
  EXPECT_EQ(to_string(spec_of(
                FormatId::nf4, 64, true,
                {.id = ScaleCodecId::dq8, .mantissa_bits = 0, .sign_bit = true, .rounding = {}})),
            "nf4 g64 dq8");
  EXPECT_EQ(to_string(spec_of(FormatId::bf16, per_channel)), "bf16");
  EXPECT_EQ(to_string(spec_of(FormatId::int4, per_tensor, false)), "int4 tensor asym fp32");
  e5m5.sign_bit = false;
  e5m5.rounding = ScaleRounding::up;
  EXPECT_EQ(to_string(e5m5), "e5m5-unsigned-up");
  // Names are unique over everything there is: a certificate compares them.
  std::set<std::string> names;
  for (const FormatSpec& spec : all_specs()) {
    EXPECT_TRUE(names.insert(to_string(spec)).second) << to_string(spec);
  }
}

TEST(Layout, HashSeesEveryPartAndTheSpec) {
  const Floats w = gaussian(4 * 64, 3);
  const auto hash = [&](FormatSpec spec, int64_t rows = 4) {
    return packed_hash(quantize_rtn(spec, w, rows, 256 / rows));
  };
  const FormatSpec spec = spec_of(FormatId::int4, 32, false);
  EXPECT_EQ(hash(spec).size(), 64u);
  EXPECT_EQ(hash(spec), hash(spec));
  EXPECT_NE(hash(spec), hash(spec, 8));
  for (device::Buffer PackedMatrix::*part :
       {&PackedMatrix::codes, &PackedMatrix::scales, &PackedMatrix::zeros}) {
    PackedMatrix packed = quantize_rtn(spec, w, 4, 64);
    (packed.*part).data()[0] ^= std::byte{1};
    EXPECT_NE(packed_hash(packed), hash(spec));
  }
}

}  // namespace
}  // namespace qsweep::quant
