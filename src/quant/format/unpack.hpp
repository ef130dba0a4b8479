// Codes -> levels over a stretch of one packed line: out[i] = level(code[begin + i]), not yet
// scaled; for asymmetric integers out[i] = code[begin + i] as a number, the zero point not yet
// subtracted.
#pragma once

#include <cstdint>

#include "quant/format/format.hpp"

namespace qsweep::quant::format {

// packed: one line's codes; out: [end - begin].
using Unpack = void (*)(const uint8_t* packed, int64_t begin, int64_t end, float* out);
Unpack unpacker(const FormatSpec& spec);

}  // namespace qsweep::quant::format
