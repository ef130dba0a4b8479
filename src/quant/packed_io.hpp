// A packed matrix as named byte arrays (".codes", ".scales", ".zeros"; empty ones are left out) and
// back, for files.
#pragma once

#include <map>
#include <span>
#include <string>

#include "quant/format/format.hpp"

namespace qsweep::quant {

// Views of the matrix, valid as long as it lives; the keys are suffixes of the tensor's name.
std::map<std::string, std::span<const std::byte>> packed_parts(const PackedMatrix& matrix);

// Copies the bytes. What comes from a file is not trusted: the shape must fit the format, every
// size be packed_size to the byte, every decoded scale finite and positive (dq8: finite) and no fp8
// code be NaN, else Error{invalid_input}.
PackedMatrix packed_from_parts(const FormatSpec& spec, int64_t rows, int64_t cols,
                               std::span<const std::byte> codes, std::span<const std::byte> scales,
                               std::span<const std::byte> zeros);

}  // namespace qsweep::quant
