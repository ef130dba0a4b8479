#include "sweep/folder/look.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "unit/record/temporary_folder.hpp"

namespace qsweep::sweep {
namespace {

namespace fs = std::filesystem;

class Look : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const fs::path file = folder_.path() / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  record::testing::TemporaryFolder folder_;
};

TEST_F(Look, FindsRecordsAndNothingElse) {
  EXPECT_TRUE(present_records(folder_.path()).empty());
  write("results/A/trial/n1/r0.h5", "");
  write("results/A/trial/n1/r1.h5.12-3-0.qsweep-tmp", "");
  EXPECT_EQ(present_records(folder_.path()), std::set<std::string>{"results/A/trial/n1/r0.h5"});
}

TEST_F(Look, TheLastEndOfARunCounts) {
  EXPECT_TRUE(logged_ends(folder_.path()).empty());
  write("logs/rank-0000.log",
        "2026-01-31T12:00:00.000 info start 0123456789abcdef results/A\n"
        "2026-01-31T12:00:01.000 info end 0123456789abcdef failed after 1.0 s why\n"
        "2026-01-31T12:00:02.000 info end 0123456789abcdef ok after 1.0 s \n");
  write("logs/rank-0001-2-of-4.log", "x info end fedcba9876543210 unproven after 2 s why\n");
  EXPECT_EQ(logged_ends(folder_.path()),
            (std::map<std::string, std::string>{{"0123456789abcdef", "ok"},
                                                {"fedcba9876543210", "unproven"}}));
}

TEST_F(Look, OddLinesSayNothing) {
  write("logs/rank-0000.log", std::string("x info end \n info end 0123456789abcdef\n") +
                                  " info end 0123456789abcdefok after\n" +
                                  " info end 0123456789abcdef wild after\n" + std::string(3, '\0') +
                                  "\n info end 0123456789abcdef ");
  write("logs/slurm-7.log", " info end 0123456789abcdef ok after 1 s\n");
  fs::create_directories(folder_.path() / "logs/rank-0001.log");
  EXPECT_TRUE(logged_ends(folder_.path()).empty());
}

}  // namespace
}  // namespace qsweep::sweep
