// The one test of what is UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace qsweep {

// Bytes of the first character if it is well-formed UTF-8 (RFC 3629), else 0.
size_t utf8_length(std::string_view text);

}  // namespace qsweep
