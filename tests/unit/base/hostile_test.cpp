// Files, names and texts that mean harm.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"

namespace qsweep {
namespace {
namespace fs = std::filesystem;

TEST(Tamed, ControlCharactersAndForeignBytesAreReplaced) {
  EXPECT_EQ(tamed("a\x1b[2J\n\x7f"), "a?[2J??");
  EXPECT_EQ(tamed("\xC2\x9B"
                  "31m \xC2\xA0 \xC3\xA9"),
            "?31m \xC2\xA0 \xC3\xA9");
  EXPECT_EQ(tamed("\xff\xC3"), "??");
  EXPECT_EQ(tamed(std::string_view("a\0b", 3)), "a?b");
  const std::string message = Error(ErrorKind::io, "a\tb", "\x1b", "c").what();
  EXPECT_EQ(message, "a?b (?) c");
}

TEST(Tamed, LongTextsEndBetweenCharacters) {
  std::string text;
  while (text.size() < 10'000) text += "\xE2\x82\xAC";
  const std::string short_text = tamed(text);
  EXPECT_TRUE(short_text.ends_with("\xAC..."));
  EXPECT_LE(short_text.size(), 4099u);
}

TEST(WholeNumber, DigitsAloneAndInRange) {
  EXPECT_EQ(whole_number("12", "X", 1, 12), 12);
  for (const char* bad :
       {"", "0", "13", "-1", "+1", " 1", "1 ", "1x", "0x1", "1e0", "99999999999999999999"}) {
    EXPECT_THROW(whole_number(bad, "X", 1, 12), Error) << bad;
  }
}

class HostileFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("qsweep-hostile-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

// Each would wait for ever, or never end, if it were opened and read as a file.
TEST_F(HostileFiles, WhatIsNoFileIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", folder_ / "device");
  fs::create_directory(folder_ / "folder");
  fs::create_symlink("circle", folder_ / "circle");
  for (const char* name : {"pipe", "device", "folder", "circle"}) {
    const fs::path file = folder_ / name;
    EXPECT_THROW(read_file(file, 100), Error) << name;
    EXPECT_THROW(sha256_file(file), Error) << name;
    EXPECT_THROW(MappedFile{file}, Error) << name;
  }
  EXPECT_TRUE(file_exists(folder_ / "pipe"));
  EXPECT_FALSE(file_exists(folder_ / "nothing"));
  EXPECT_THROW(file_exists(folder_ / "circle"), Error);
  EXPECT_THROW(file_exists(folder_ / std::string(300, 'x')), Error);
}

TEST_F(HostileFiles, ALinkToAFileIsThatFile) {
  write_file_atomic(folder_ / "file", "text");
  fs::create_symlink("file", folder_ / "link");
  EXPECT_EQ(read_file(folder_ / "link", 4), "text");
}

TEST_F(HostileFiles, AddressesOfMappedFilesHaveTheirNames) {
  write_file_atomic(folder_ / "file", "text");
  const std::byte* address = nullptr;
  {
    const MappedFile file(folder_ / "file");
    address = file.bytes().data();
    EXPECT_STREQ(mapped_file_at(address + 3), (folder_ / "file").c_str());
    EXPECT_EQ(mapped_file_at(address + 4), nullptr);
  }
  EXPECT_EQ(mapped_file_at(address), nullptr);
}

}  // namespace
}  // namespace qsweep
