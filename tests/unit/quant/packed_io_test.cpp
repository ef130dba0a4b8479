// Packed matrices as byte arrays: there and back for every format, and what a hostile file must not
// get through.
#include "quant/packed_io.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "quant/format/packed_hash.hpp"
#include "unit/format/spec_list.hpp"

namespace qsweep::quant {
namespace {

using Bytes = std::vector<std::byte>;

Bytes part(const PackedMatrix& matrix, const char* name) {
  const auto parts = packed_parts(matrix);
  const auto found = parts.find(name);
  return found == parts.end() ? Bytes{} : Bytes(found->second.begin(), found->second.end());
}

TEST(PackedIo, RoundTripsEveryFormat) {
  for (const FormatSpec& spec : all_specs()) {
    const PackedMatrix packed = quantize_rtn(spec, gaussian(5 * 37, 1), 5, 37);
    EXPECT_EQ(packed_parts(packed).size(),
              1u + (packed.scales.size() > 0) + (packed.zeros.size() > 0));
    const PackedMatrix back = packed_from_parts(spec, 5, 37, part(packed, ".codes"),
                                                part(packed, ".scales"), part(packed, ".zeros"));
    EXPECT_EQ(packed_hash(back), packed_hash(packed)) << to_string(spec);
  }
}

class HostileParts : public testing::Test {
 public:
  FormatSpec spec_{FormatId::int4, 4, false, {}};
  Bytes codes_, scales_, zeros_;
  void SetUp() override { pack(spec_); }
  void pack(const FormatSpec& spec) {
    spec_ = spec;
    const PackedMatrix packed = quantize_rtn(spec, gaussian(3 * 10, 1), 3, 10);
    codes_ = part(packed, ".codes");
    scales_ = part(packed, ".scales");
    zeros_ = part(packed, ".zeros");
  }
  std::string refusal(int64_t rows = 3, int64_t cols = 10) {
    try {
      packed_from_parts(spec_, rows, cols, codes_, scales_, zeros_);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
      return error.what();
    }
    return "accepted";
  }
  void expect_refused(const std::string& word) {
    EXPECT_NE(refusal().find(word), std::string::npos) << refusal();
  }
};

TEST_F(HostileParts, Sizes) {
  EXPECT_EQ(refusal(), "accepted");
  for (Bytes HostileParts::*bytes :
       {&HostileParts::codes_, &HostileParts::scales_, &HostileParts::zeros_}) {
    const Bytes kept = this->*bytes;
    (this->*bytes).pop_back();
    expect_refused("wrong size");
    this->*bytes = kept;
    (this->*bytes).push_back(std::byte{0});
    expect_refused("wrong size");
    (this->*bytes).clear();
    expect_refused("wrong size");
    this->*bytes = kept;
  }
}

TEST_F(HostileParts, Shapes) {
  constexpr int64_t huge = std::numeric_limits<int64_t>::max();
  for (const auto& [rows, cols] :
       {std::pair<int64_t, int64_t>{0, 10}, {3, -10}, {huge, huge}, {huge, 2}, {-3, -10}}) {
    EXPECT_NE(refusal(rows, cols).find("cannot be packed"), std::string::npos);
  }
  EXPECT_NE(refusal(10, 3).find("wrong size"), std::string::npos);
  spec_.group = -7;
  expect_refused("groups of -7");
}

TEST_F(HostileParts, ScalesThatAreNotNumbers) {
  const float bad_scales[] = {std::nanf(""), HUGE_VALF, 0.0f, -1.0f};
  for (const float bad : bad_scales) {
    const Bytes kept = scales_;
    std::memcpy(scales_.data() + 8, &bad, 4);
    expect_refused("packed scale 2");
    scales_ = kept;
  }
  pack({FormatId::nf4, 8, true, {ScaleCodecId::dq8, 0, true, {}}});
  EXPECT_EQ(refusal(), "accepted");
  std::memcpy(scales_.data() + scales_.size() - 4, &bad_scales[0], 4);
  expect_refused("packed scale 0");
}

TEST_F(HostileParts, NanCodes) {
  pack({FormatId::fp8_e4m3, per_channel, true, {}});
  EXPECT_EQ(refusal(), "accepted");
  codes_[5] = std::byte{0xFF};
  expect_refused("packed code 5 is NaN");
}

}  // namespace
}  // namespace qsweep::quant
