// Shapes, specs and weights that must be refused with a sentence, never packed.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

FormatSpec int4_g(int64_t group) {
  return {FormatId::int4, group, true, {}};
}

template <class Function>
std::string refusal(const Function& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
    return error.what();
  }
  return "not refused";
}

TEST(Hostile, Shapes) {
  constexpr int64_t huge = std::numeric_limits<int64_t>::max();
  const std::pair<int64_t, int64_t> shapes[] = {{0, 4},       {4, 0},    {-1, 4},   {4, -1},
                                                {huge, huge}, {huge, 1}, {1, huge}, {-huge, -huge}};
  for (const auto& [rows, cols] : shapes) {
    for (const FormatSpec& spec : {int4_g(128), FormatSpec{}}) {
      EXPECT_NE(shape_problem(spec, rows, cols), "") << rows << " x " << cols;
      EXPECT_NE(refusal([&] { packed_size(spec, rows, cols); }).find("cannot be packed"),
                std::string::npos);
      EXPECT_NE(refusal([&] { quantize_rtn(spec, {}, rows, cols); }).find("cannot be packed"),
                std::string::npos);
    }
  }
  EXPECT_EQ(shape_problem(int4_g(128), 1, 1), "");
}

TEST(Hostile, WeightsThatDoNotFitTheShape) {
  const std::vector<float> w(10);
  EXPECT_NE(refusal([&] {
              quantize_rtn(int4_g(4), w, 3, 4);
            }).find("10 weights are given for a matrix of 3 x 4"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              pack_raw(FormatId::bf16, std::as_bytes(std::span(w)), 3, 4);
            }).find("expected 24 bytes"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              pack_raw(FormatId::int8, std::as_bytes(std::span(w)), 1, 40);
            }).find("no raw format"),
            std::string::npos);
}

TEST(Hostile, WeightsThatAreNotFinite) {
  for (const float bad : {std::nanf(""), -std::nanf(""), HUGE_VALF, -HUGE_VALF, 3e37f}) {
    for (const FormatId id : ids_of(format::Formats{})) {
      FormatSpec spec{id, has_scales(id) ? 4 : per_channel, true, {}};
      std::vector<float> w(24, 0.5f);
      w[17] = bad;
      EXPECT_NE(refusal([&] { quantize_rtn(spec, w, 3, 8, 2); }).find("row 2, column 1"),
                std::string::npos)
          << name_of(id) << bad;
    }
  }
  EXPECT_NE(refusal([&] {
              quantize_rtn({FormatId::fp16, per_channel, true, {}}, std::vector<float>{7e4f}, 1, 1);
            }).find("beyond the range"),
            std::string::npos);
}

TEST(Hostile, SpecsThatContradictThemselves) {
  const auto problem = [](FormatId id, int64_t group, bool symmetric, ScaleCodec scale) {
    return spec_problem({id, group, symmetric, scale});
  };
  const ScaleCodec e5m11{ScaleCodecId::e5m, 11, true, {}},
      e5m_negative{ScaleCodecId::e5m, -1, true, {}};
  const ScaleCodec none{ScaleCodecId::none, 0, true, {}};
  EXPECT_NE(problem(FormatId::int4, -2, true, {}).find("groups of -2"), std::string::npos);
  EXPECT_NE(problem(FormatId::int4, std::numeric_limits<int64_t>::max(), true, {}), "");
  EXPECT_NE(problem(FormatId::int4, 128, true, e5m11).find("0 to 10 mantissa bits, not 11"),
            std::string::npos);
  EXPECT_NE(problem(FormatId::int4, 128, true, e5m_negative), "");
  EXPECT_NE(problem(FormatId::int4, 128, true, none).find("needs a scale codec"),
            std::string::npos);
  EXPECT_NE(problem(FormatId::nf4, per_channel, true, {}).find("block size"), std::string::npos);
  EXPECT_NE(problem(FormatId::nf4, 64, false, {}).find("asymmetric"), std::string::npos);
  EXPECT_NE(problem(FormatId::fp8_e4m3, per_channel, false, {}).find("asymmetric"),
            std::string::npos);
  EXPECT_NE(problem(FormatId::bf16, per_channel, true, {ScaleCodecId::e5m, 5, true, {}})
                .find("scale codec (e5m5)"),
            std::string::npos);
  EXPECT_NE(problem(FormatId::bf16, 128, true, {}).find("group size"), std::string::npos);
  EXPECT_NE(problem(FormatId::bf16, per_channel, false, {}).find("asymmetric"), std::string::npos);
  EXPECT_NE(problem(static_cast<FormatId>(99), per_channel, true, {}).find("unknown"),
            std::string::npos);
  EXPECT_NE(problem(FormatId::int4, 128, true, {static_cast<ScaleCodecId>(99), 0, true, {}})
                .find("unknown"),
            std::string::npos);
  EXPECT_EQ(problem(FormatId::bf16, per_channel, true, none), "");
}

}  // namespace
}  // namespace qsweep::quant
