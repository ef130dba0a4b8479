// Bits and rounding below the formats: rounding without the rounding mode, and the
// least-significant-bit-first stream in which codes of any width up to 16 bits stand one after
// another: code i at bits [i*width, (i+1)*width).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/half.hpp"

namespace qsweep::quant::format {

// Nearest integer, ties to even, for |x| <= 2^22: adding 1.5 * 2^23 leaves no fraction bits. Unlike
// nearbyint it is two plain additions, so loops around it vectorise on every instruction set.
QSWEEP_HD inline float round_even(float x) {
  constexpr float shift = 12582912.0f;
  return (x + shift) - shift;
}

QSWEEP_HD constexpr float clamp(float x, float low, float high) {
  const float raised = x < low ? low : x;
  return raised > high ? high : raised;
}

constexpr uint64_t stream_bytes(int64_t codes, int width) {
  return (static_cast<uint64_t>(codes) * static_cast<uint64_t>(width) + 7) / 8;
}

// stream: [bytes]. A code of 16 bits can touch three bytes; none beyond the end is read. One 4-byte
// load but for the last codes: kernels decode a scale every few dozen weights.
QSWEEP_HD inline uint32_t load_bits(const uint8_t* stream, uint64_t bytes, int64_t index,
                                    int width) {
  static_assert(std::endian::native == std::endian::little);
  const uint64_t bit = static_cast<uint64_t>(index) * static_cast<uint64_t>(width);
  const uint64_t byte = bit >> 3;
  uint32_t window = 0;
  if (byte + sizeof window <= bytes) {
    std::memcpy(&window, stream + byte, sizeof window);
  } else {
    for (uint64_t i = byte; i < bytes; ++i)
      window |= static_cast<uint32_t>(stream[i]) << (8 * (i - byte));
  }
  return (window >> (bit & 7)) & ((1u << width) - 1u);
}

// Sets code `index` of a stream whose bits there are still zero.
inline void store_bits(uint8_t* stream, int64_t index, int width, uint32_t code) {
  uint64_t bit = static_cast<uint64_t>(index) * static_cast<uint64_t>(width);
  for (int left = width; left > 0;) {
    const int room = 8 - static_cast<int>(bit & 7);
    stream[bit >> 3] = static_cast<uint8_t>(stream[bit >> 3] | (code << (bit & 7)));
    code >>= room;
    bit += static_cast<uint64_t>(room);
    left -= room;
  }
}

}  // namespace qsweep::quant::format
