// Where the project's own files lie: QSWEEP_SOURCE_DIR of the environment for programs that were
// built elsewhere (tests/device_pack.sh), else where they were built.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace qsweep::test {

inline std::filesystem::path source_folder() {
  const char* variable = std::getenv("QSWEEP_SOURCE_DIR");
  return variable != nullptr ? variable : QSWEEP_SOURCE_DIR;
}

}  // namespace qsweep::test
