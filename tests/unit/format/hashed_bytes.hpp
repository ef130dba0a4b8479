// Packed matrices of any numbers of bytes, whatever their spec and shape: hashing takes them as
// they are.
#pragma once

#include <array>

#include "quant/format/packed_hash.hpp"

namespace qsweep::quant {

// Byte i of part p: 37 i + 11 floor(i / 256) + p + 1, modulo 256.
inline PackedMatrix matrix_of_bytes(size_t codes, size_t scales, size_t zeros) {
  PackedMatrix matrix;
  matrix.spec = {FormatId::int4, 128, true, {ScaleCodecId::e5m, 5}};
  matrix.rows = 3072;
  matrix.cols = 8192;
  const auto filled = [](size_t bytes, size_t salt) {
    device::Buffer part(bytes, device::MemoryClass::weights);
    for (size_t i = 0; i < bytes; ++i) {
      part.data()[i] = static_cast<std::byte>((i * 37 + (i >> 8) * 11 + salt) & 255);
    }
    return part;
  };
  matrix.codes = filled(codes, 1);
  matrix.scales = filled(scales, 2);
  matrix.zeros = filled(zeros, 3);
  return matrix;
}

// Codes, scales, zeros around the borders of SHA-256's padding and blocks, and of pieces.
inline constexpr std::array<std::array<size_t, 3>, 9> hashed_sizes = {{{0, 0, 0},
                                                                       {1, 0, 0},
                                                                       {55, 56, 0},
                                                                       {63, 64, 65},
                                                                       {8191, 1, 1},
                                                                       {8192, 0, 0},
                                                                       {8193, 55, 0},
                                                                       {24576, 8192, 8191},
                                                                       {45057, 8193, 119}}};

}  // namespace qsweep::quant
