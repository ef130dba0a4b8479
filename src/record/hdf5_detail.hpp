// What the HDF5 sources share; only they see the library's headers.
#pragma once

#include <hdf5.h>
#include <hdf5_hl.h>

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "record/hdf5.hpp"

namespace qsweep::record::hdf5 {

static_assert(sizeof(hid_t) == sizeof(int64_t), "HDF5 1.10 or later");

// Silences the library's own printing, forbids plug-ins, before anything else is called.
void initialise();

// The innermost message of the library's error stack, which it then clears.
std::string last_reason();

[[noreturn]] inline void fail(ErrorKind kind, std::string_view problem, const std::string& where) {
  throw Error(kind, std::string(problem) + " " + where, last_reason());
}

// The identifier or return code, if it is none of HDF5's negative ones.
template <class Result>
Result check(Result result, ErrorKind kind, std::string_view problem, const std::string& where) {
  if (result < 0) fail(kind, problem, where);
  return result;
}

Handle text_type();  // UTF-8, variable length
inline hid_t integer_type() {
  return H5T_NATIVE_INT64;
}
inline hid_t real_type() {
  return H5T_NATIVE_DOUBLE;
}

}  // namespace qsweep::record::hdf5
