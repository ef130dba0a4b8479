// Reading ahead: the order, the content, the missing and the damaged, an exception in the middle.
#include "record/read_ahead.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

#include "base/error.hpp"
#include "base/files.hpp"
#include "record/record.hpp"
#include "record/seal.hpp"
#include "tests/unit/record/example_record.hpp"
#include "tests/unit/record/temporary_folder.hpp"

namespace qsweep::record {
namespace {

namespace fs = std::filesystem;
using testing::bytes_of;
using testing::example_record;
using testing::TemporaryFolder;

std::vector<SealedFile> read_all(const std::vector<fs::path>& files) {
  std::vector<SealedFile> all;
  read_ahead(files, [&](size_t i, SealedFile file) {
    EXPECT_EQ(i, all.size());
    all.push_back(std::move(file));
  });
  EXPECT_EQ(all.size(), files.size());
  return all;
}

TEST(ReadAhead, HandsOverEveryFileInOrder) {
  const TemporaryFolder folder;
  std::vector<fs::path> files;
  for (int i = 0; i < 300; ++i) {  // some windows full, of sizes that end in another order
    files.push_back(folder / std::to_string(i));
    const std::string content = std::to_string(i) + std::string(i % 7 == 0 ? 1'000'000 : 10, 'x');
    if (i % 5 != 0) write_file_atomic(files.back(), seal(content));
  }
  const std::vector<SealedFile> found = read_all(files);
  for (int i = 0; i < 300; ++i) {
    const SealedFile& file = found.at(static_cast<size_t>(i));
    EXPECT_EQ(file.there, i % 5 != 0) << i;
    EXPECT_EQ(file.problem, "");
    if (file.there) {
      EXPECT_EQ(file.bytes, std::to_string(i) + std::string(i % 7 == 0 ? 1'000'000 : 10, 'x'));
    }
  }
  EXPECT_TRUE(read_all({}).empty());
}

TEST(ReadAhead, GivesWhatReadRecordGives) {
  const TemporaryFolder folder;
  write_record(folder / "r0.h5", example_record());
  const std::vector<SealedFile> found = read_all({folder / "r0.h5"});
  const RunRecord whole = read_record(folder / "r0.h5");
  const RunRecord parsed = parse_record(found[0].bytes, "r0.h5");
  EXPECT_EQ(parsed.attributes, whole.attributes);
  EXPECT_EQ(parsed.metrics.size(), whole.metrics.size());
  EXPECT_EQ(parsed.datasets.size(), whole.datasets.size());
  const RunState state = parse_run_state(found[0].bytes, "r0.h5");
  EXPECT_EQ(Attribute(state.run_id), whole.attributes.at("run_id"));
  EXPECT_EQ(Attribute(state.status), whole.attributes.at("status"));
  EXPECT_EQ(Attribute(state.error), whole.attributes.at("error"));
}

// A flip in every 61st byte, and in each of the last 200: superblock, indices, heaps, values, seal.
TEST(ReadAhead, NoByteOfADamagedFileIsHandedOver) {
  const TemporaryFolder folder;
  write_record(folder / "r0.h5", example_record(20));
  const std::string whole = bytes_of(folder / "r0.h5");
  std::vector<fs::path> files;
  for (size_t at = 0; at < whole.size(); at += at + 200 < whole.size() ? 61 : 1) {
    std::string bent = whole;
    bent[at] = static_cast<char>(bent[at] ^ 0x10);
    files.push_back(folder / std::to_string(at));
    write_file_atomic(files.back(), bent);
  }
  for (size_t cut : {size_t{0}, size_t{1}, size_t{64}, whole.size() / 2, whole.size() - 1}) {
    files.push_back(folder / ("cut" + std::to_string(cut)));
    write_file_atomic(files.back(), std::string_view(whole).substr(0, cut));
  }
  files.push_back(folder / "longer");
  write_file_atomic(files.back(), whole + "\n");
  fs::create_directory(folder / "folder");
  files.push_back(folder / "folder");
  size_t i = 0;
  for (const SealedFile& file : read_all(files)) {
    EXPECT_TRUE(file.there) << files[i];
    EXPECT_NE(file.problem, "") << files[i];
    EXPECT_EQ(file.bytes, "") << files[i];
    ++i;
  }
}

TEST(ReadAhead, AnExceptionEndsIt) {
  const TemporaryFolder folder;
  std::vector<fs::path> files;
  for (int i = 0; i < 200; ++i) {
    files.push_back(folder / std::to_string(i));
    write_file_atomic(files.back(), seal("content"));
  }
  size_t taken = 0;
  const auto stop_at_third = [&](size_t i, const SealedFile&) {
    ++taken;
    if (i == 2) throw std::runtime_error("enough");
  };
  EXPECT_THROW(read_ahead(files, stop_at_third), std::runtime_error);
  EXPECT_EQ(taken, 3u);
}

// Files that declare a size near the limit wait for one another instead of filling the memory; the
// one that is due always goes on. (Sparse: they take no room on the disk.)
TEST(ReadAhead, SlowLargeFilesComeOneAfterAnother) {
  const TemporaryFolder folder;
  std::vector<fs::path> files;
  for (int i = 0; i < 3; ++i) {
    files.push_back(folder / std::to_string(i));
    write_file_atomic(files.back(), "");
    fs::resize_file(files.back(), i == 2 ? max_run_bytes + 1 : max_run_bytes - 100);
  }
  const std::vector<SealedFile> found = read_all(files);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_NE(found[i].problem.find("not a whole run file"), std::string::npos);
  EXPECT_NE(found[2].problem.find("too large"), std::string::npos);
}

}  // namespace
}  // namespace qsweep::record
