// int4: -8..7, scale absmax / 7 (the level -8 is used only where a coded scale came out smaller
// than the exact one). Two a byte, even column in the low nibble.
#pragma once

#include "quant/format/format.hpp"
#include "quant/format/integer.hpp"

namespace qsweep::quant::format {

struct Int4 : Integer<4, -8> {
  static constexpr FormatId id = FormatId::int4;
  static constexpr bool high_first = false;
};

}  // namespace qsweep::quant::format
