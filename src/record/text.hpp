// Text as HDF5 strings can hold it, and the schema's lists of dimensions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qsweep::record {

// The text with every byte that is not UTF-8, and every NUL, replaced by U+FFFD: h5py refuses the
// first and a C string ends at the second.
std::string clean_text(std::string_view text);
// "a,b" -> {"a", "b"}.
std::vector<std::string> split_dims(std::string_view dims);

}  // namespace qsweep::record
