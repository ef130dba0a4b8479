#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/fenwick.hpp"
#include "base/files.hpp"
#include "base/half.hpp"
#include "base/hash.hpp"
#include "base/rng.hpp"
#include "base/text_table.hpp"

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
  EXPECT_EQ(read_file_if_there(folder_ / "x", 5), "12345");
  EXPECT_EQ(read_file_if_there(folder_ / "missing", 4), std::nullopt);
  EXPECT_EQ(read_file_if_there(folder_ / "x" / "below a file", 4), std::nullopt);
  EXPECT_THROW(read_file_if_there(folder_ / "x", 4), Error);
}

TEST_F(Files, APipeIsNoFileAndIsNotWaitedFor) {
  fs::create_directory(folder_);
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(read_file(folder_ / "pipe", 4), Error);
}

TEST_F(Files, FaultsOfTheFileSystemSayWhatToDo) {
  fs::create_directories(folder_ / "taken");
  const auto message = [&](const fs::path& file) -> std::string {
    try {
      write_file_atomic(file, "text");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(message(folder_ / "a" / "b" / "file"), "") << "folders are made";
  EXPECT_NE(message(folder_ / "taken").find("cannot rename to"), std::string::npos);
  EXPECT_NE(message(folder_ / "a" / "b" / "file" / "below").find("Not a directory"),
            std::string::npos);
  EXPECT_NE(message("/dev/full/x").find("cannot"), std::string::npos);
  // What is left of the failures: nothing.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 2);
}

TEST(Fenwick, CountsWhatIsLeftBefore) {
  Fenwick tree(10);
  EXPECT_EQ(tree.before(10), 10u);
  for (const size_t gone : {0u, 3u, 9u}) tree.remove(gone);
  const size_t left[] = {0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 7};
  for (size_t end = 0; end <= 10; ++end) EXPECT_EQ(tree.before(end), left[end]) << end;
}

TEST(Clock, SecondsForPeople) {
  EXPECT_EQ(human_seconds(0.254), "0.25 s");
  EXPECT_EQ(human_seconds(12.34), "12.3 s");
  EXPECT_EQ(human_seconds(245), "4 min 05 s");
  EXPECT_EQ(human_seconds(7800), "2 h 10 min");
  EXPECT_EQ(human_seconds(3.5 * 86400 * 2), "7.0 d");
  EXPECT_EQ(human_seconds(NAN), "?");
}

TEST(TextTable, PadsColumns) {
  TextTable table("lr");
  table.add({"name", "n"});
  table.add({"a", "100"});
  EXPECT_EQ(table.text(), "  name    n\n  a     100\n");
  EXPECT_EQ(plural(1, "run"), "1 run");
  EXPECT_EQ(plural(0, "run"), "0 runs");
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
