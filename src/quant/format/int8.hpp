// int8: -127..127, scale absmax / 127; the code -128 is never written, so that negation keeps the
// range.
#pragma once

#include "quant/format/format.hpp"
#include "quant/format/integer.hpp"

namespace qsweep::quant::format {

struct Int8 : Integer<8, -127> {
  static constexpr FormatId id = FormatId::int8;
  static constexpr bool high_first = false;
};

}  // namespace qsweep::quant::format
