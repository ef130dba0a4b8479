#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/half.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"

namespace qsweep {
namespace {

namespace fs = std::filesystem;

TEST(Error, ReadsProblemWhySuggestion) {
  const Error error(ErrorKind::io, "cannot write x", "disk full", "free some space");
  EXPECT_STREQ(error.what(), "cannot write x (disk full) free some space");
  EXPECT_EQ(exit_code(ErrorKind::invalid_input), 2);
  EXPECT_EQ(exit_code(ErrorKind::gpu_guard), 3);
  EXPECT_EQ(exit_code(ErrorKind::interrupted), 75);
}

TEST(Error, FaultListTellsAllAtOnce) {
  FaultList faults;
  EXPECT_NO_THROW(faults.throw_if_any());
  faults.add({"a.yaml", 3, 5, "first"});
  faults.add({"a.yaml", 0, 0, "second"});
  EXPECT_EQ(faults.text(), "a.yaml:3:5: first\na.yaml: second");
  EXPECT_THROW(faults.throw_if_any(), Error);
}

TEST(Error, NearestWord) {
  EXPECT_EQ(nearest_word("scop", {"weights", "scope"}), "scope");
  EXPECT_EQ(nearest_word("zzz", {"weights", "scope"}), "");
}

// Every 16-bit pattern that is a number survives the way to float and back.
TEST(Half, RoundTripsEveryPattern) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    if (!std::isnan(bf16_to_float(half))) {
      ASSERT_EQ(float_to_bf16(bf16_to_float(half)), half);
    }
    if (!std::isnan(fp16_to_float(half))) {
      ASSERT_EQ(float_to_fp16(fp16_to_float(half)), half);
    }
  }
  for (uint32_t bits = 0; bits < 256; ++bits) {
    const auto code = static_cast<uint8_t>(bits);
    if (!std::isnan(fp8_e4m3_to_float(code))) {
      ASSERT_EQ(float_to_fp8_e4m3(fp8_e4m3_to_float(code)), code) << bits;
    }
  }
}

TEST(Half, RoundsToNearestEven) {
  // Between 1 and the next bf16 (1 + 2^-7) lies 1 + 2^-8: a tie, to the even 1.
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.0f + 0.00390625f)), 1.0f);
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.0f + 3 * 0.00390625f)), 1.015625f);
  EXPECT_EQ(fp16_to_float(float_to_fp16(1.0f + 0x1p-11f)), 1.0f);
  EXPECT_EQ(fp16_to_float(float_to_fp16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(fp16_to_float(float_to_fp16(65520.0f))));
  EXPECT_EQ(fp16_to_float(float_to_fp16(0x1p-25f)), 0.0f);
  EXPECT_EQ(fp16_to_float(float_to_fp16(0x1.8p-25f)), 0x1p-24f);
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(1e6f)), 448.0f);
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(-1e6f)), -448.0f);
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(0x1p-10f)), 0.0f);  // tie of 0 and 2^-9, to even
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(0x1.8p-9f)),
            0x1p-8f);  // tie of 1 and 2 units, to even
  EXPECT_EQ(fp8_e4m3_to_float(float_to_fp8_e4m3(1.0625f)), 1.0f);
  EXPECT_TRUE(std::isnan(fp8_e4m3_to_float(float_to_fp8_e4m3(NAN))));
}

TEST(Hash, KnownDigest) {
  EXPECT_EQ(sha256_hex(std::string_view("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Rng, FollowsThePublishedSequence) {
  // First outputs of the reference splitmix64 for seed 1234567.
  Rng rng(1234567);
  EXPECT_EQ(rng.next(), 6457827717110365317ull);
  EXPECT_EQ(rng.next(), 3203168211198807973ull);
  EXPECT_EQ(rng.next(), 9817491932198370423ull);
}

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qsweep-files-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST_F(Files, WrittenWholeOrNotAtAll) {
  const fs::path file = folder_ / "deep" / "x.txt";
  write_file_atomic(file, "one");
  EXPECT_EQ(read_file(file, 10), "one");
  EXPECT_THROW(write_atomic(file,
                            [](const fs::path& temporary) {
                              std::ofstream(temporary) << "half";
                              throw Error(ErrorKind::io, "boom");
                            }),
               Error);
  EXPECT_EQ(read_file(file, 10), "one");
  for (const auto& entry : fs::directory_iterator(file.parent_path())) {
    EXPECT_EQ(entry.path().filename(), "x.txt");
  }
}

TEST_F(Files, ReadingIsBounded) {
  write_file_atomic(folder_ / "x", "12345");
  EXPECT_THROW(read_file(folder_ / "x", 4), Error);
  EXPECT_THROW(read_file(folder_ / "missing", 4), Error);
  EXPECT_THROW(read_file(folder_, 4), Error);
}

TEST(Names, SafeAsPathComponents) {
  EXPECT_TRUE(is_safe_name("C5_m0"));
  EXPECT_TRUE(is_safe_name("w2048_s512"));
  for (const char* bad : {"", ".", "..", "a/b", "-rf", ".hidden", "a b", "a\nb", "$(x)", "é"}) {
    EXPECT_FALSE(is_safe_name(bad)) << bad;
  }
  EXPECT_FALSE(is_safe_name(std::string(121, 'a')));
}

}  // namespace
}  // namespace qsweep
