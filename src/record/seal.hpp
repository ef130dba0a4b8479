// A run file ends with a line that holds the SHA-256 of all bytes before it. HDF5 readers ignore
// what follows the end that the superblock names; this reader refuses a file whose seal does not
// hold, before a byte of it reaches the HDF5 library. So what is torn, cut or bent is told apart
// from what was written.
#pragma once

#include <string>
#include <string_view>

namespace qsweep::record {

inline constexpr std::string_view seal_word =
    "\nqsweep-sha256 ";  // then 64 hex digits and a newline

std::string seal(std::string bytes);
// The bytes before the seal. Throws Error{invalid_input} naming `label`.
std::string_view unseal(std::string_view sealed, const std::string& label);

}  // namespace qsweep::record
