// Damaged run files: every cut and every flipped byte must end in an Error, never in a crash or in
// wrong values. The seal is what makes this hold: HDF5 1.10 itself crashes on about one bent file
// in 25 (it trusts the indices of its heap of strings), so no byte reaches it before its seal is
// checked.
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/rng.hpp"
#include "record/record.hpp"
#include "record/seal.hpp"
#include "tests/unit/record/example_record.hpp"
#include "tests/unit/record/temporary_folder.hpp"

namespace qsweep::record {
namespace {

using testing::bytes_of;
using testing::example_record;
using testing::TemporaryFolder;

std::string flipped(std::string bytes, Rng& rng, int flips) {
  for (int i = 0; i < flips; ++i) {
    bytes[rng.below(static_cast<uint32_t>(bytes.size()))] ^= static_cast<char>(1 + rng.below(255));
  }
  return bytes;
}

TEST(Damage, EveryCutIsRefused) {
  const TemporaryFolder folder;
  write_record(folder / "r0.h5", example_record());
  const std::string whole = bytes_of(folder / "r0.h5");
  for (size_t part = 0; part < 50; ++part) {
    write_file_atomic(folder / "cut.h5",
                      std::string_view(whole).substr(0, whole.size() * part / 50));
    EXPECT_THROW(read_record(folder / "cut.h5"), Error) << part << "/50";
  }
  write_file_atomic(folder / "cut.h5", whole.substr(0, whole.size() - 1));
  EXPECT_THROW(read_record(folder / "cut.h5"), Error);
}

TEST(Damage, EveryFlipIsRefused) {
  const TemporaryFolder folder;
  write_record(folder / "r0.h5", example_record());
  const std::string whole = bytes_of(folder / "r0.h5");
  Rng rng(20260131);
  for (int round = 0; round < 200; ++round) {
    write_file_atomic(folder / "bent.h5", flipped(whole, rng, 1 + round % 8));
    EXPECT_THROW(read_record(folder / "bent.h5"), Error) << round;
  }
}

}  // namespace
}  // namespace qsweep::record
