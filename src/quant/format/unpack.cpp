// The loops behind unpacker(): one a format, integers one more for unsigned codes.
#include "quant/format/unpack.hpp"

#include <array>
#include <bit>
#include <cstring>

#include "base/per_isa.hpp"
#include "quant/format/formats.hpp"

namespace qsweep::quant::format {
namespace {

// packed: [pairs] bytes; out: [2 * pairs].
QSWEEP_PER_ISA void int4_pairs(const uint8_t* __restrict packed, int64_t pairs,
                               float* __restrict out) {
  for (int64_t i = 0; i < pairs; ++i) {
    const int32_t byte = packed[i];
    out[2 * i] = static_cast<float>(((byte & 15) ^ 8) - 8);
    out[2 * i + 1] = static_cast<float>((byte >> 4 ^ 8) - 8);
  }
}

QSWEEP_PER_ISA void uint4_pairs(const uint8_t* __restrict packed, int64_t pairs,
                                float* __restrict out) {
  for (int64_t i = 0; i < pairs; ++i) {
    out[2 * i] = static_cast<float>(packed[i] & 15);
    out[2 * i + 1] = static_cast<float>(packed[i] >> 4);
  }
}

QSWEEP_PER_ISA void int8_codes(const int8_t* __restrict codes, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(codes[i]);
}

QSWEEP_PER_ISA void uint8_codes(const uint8_t* __restrict codes, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(codes[i]);
}

QSWEEP_PER_ISA void bf16_codes(const uint16_t* __restrict codes, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) out[i] = bf16_to_float(codes[i]);
}

// Same values as fp16_to_float, but all three cases are computed and one is picked: a branch would
// keep the loop from vectorising (measured: three times slower).
QSWEEP_PER_ISA void fp16_codes(const uint16_t* __restrict codes, int64_t n, float* __restrict out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t sign = static_cast<uint32_t>(codes[i] & 0x8000u) << 16;
    const int32_t magnitude = codes[i] & 0x7FFF;
    const uint32_t shifted = static_cast<uint32_t>(magnitude) << 13;
    const uint32_t subnormal = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
    const uint32_t finite = magnitude < 0x400 ? subnormal : shifted + 0x38000000u;
    out[i] = std::bit_cast<float>(sign | (magnitude < 0x7C00 ? finite : shifted | 0x7F800000u));
  }
}

// Two levels a byte: one load and one 8-byte store instead of two of each.
const auto nf4_pair_levels = [] {
  std::array<std::array<float, 2>, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte)
    table[byte] = {Nf4::level(byte >> 4), Nf4::level(byte & 15)};
  return table;
}();

void nf4_pairs(const uint8_t* packed, int64_t pairs, float* out) {
  for (int64_t i = 0; i < pairs; ++i)
    std::memcpy(out + 2 * i, nf4_pair_levels[packed[i]].data(), 8);
}

const auto fp8_levels = [] {
  std::array<float, 256> table{};
  for (uint32_t code = 0; code < 256; ++code) table[code] = Fp8E4m3::level(code);
  return table;
}();

// A stretch of a two-a-byte line: the odd ends one by one, what lies between by whole bytes.
template <class F, bool Unsigned, void (*Pairs)(const uint8_t*, int64_t, float*)>
void unpack_nibbles(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  const auto single = [&](int64_t i) {
    const bool high = (i % 2 == 0) == F::high_first;
    const uint32_t code = high ? packed[i / 2] >> 4 : packed[i / 2] & 15;
    if constexpr (Unsigned) return F::unsigned_level(code);
    return F::level(code);
  };
  if (begin < end && begin % 2 != 0) *out++ = single(begin++);
  const int64_t pairs = (end - begin) / 2;
  Pairs(packed + begin / 2, pairs, out);
  if ((end - begin) % 2 != 0) out[2 * pairs] = single(end - 1);
}

void unpack_int8(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  int8_codes(reinterpret_cast<const int8_t*>(packed) + begin, end - begin, out);
}

void unpack_uint8(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  uint8_codes(packed + begin, end - begin, out);
}

void unpack_fp8(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  for (int64_t i = begin; i < end; ++i) *out++ = fp8_levels[packed[i]];
}

void unpack_bf16(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  bf16_codes(reinterpret_cast<const uint16_t*>(packed) + begin, end - begin, out);
}

void unpack_fp16(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  fp16_codes(reinterpret_cast<const uint16_t*>(packed) + begin, end - begin, out);
}

void unpack_fp32(const uint8_t* packed, int64_t begin, int64_t end, float* out) {
  std::memcpy(out, packed + 4 * begin, static_cast<size_t>(end - begin) * 4);
}

template <class F>
constexpr Unpack plain = nullptr;
template <>
constexpr Unpack plain<Fp32> = unpack_fp32;
template <>
constexpr Unpack plain<Fp16> = unpack_fp16;
template <>
constexpr Unpack plain<Bf16> = unpack_bf16;
template <>
constexpr Unpack plain<Fp8E4m3> = unpack_fp8;
template <>
constexpr Unpack plain<Int8> = unpack_int8;
template <>
constexpr Unpack plain<Int4> = unpack_nibbles<Int4, false, int4_pairs>;
template <>
constexpr Unpack plain<Nf4> = unpack_nibbles<Nf4, false, nf4_pairs>;

template <class F>
constexpr Unpack asymmetric = nullptr;
template <>
constexpr Unpack asymmetric<Int8> = unpack_uint8;
template <>
constexpr Unpack asymmetric<Int4> = unpack_nibbles<Int4, true, uint4_pairs>;

}  // namespace

Unpack unpacker(const FormatSpec& spec) {
  return visit_format(spec.id, [&](auto f) -> Unpack {
    using F = decltype(f);
    static_assert(plain<F> != nullptr, "every format of the list has its loop");
    static_assert(!F::integer || asymmetric<F> != nullptr, "integers have an asymmetric loop too");
    return spec.symmetric ? plain<F> : asymmetric<F>;
  });
}

}  // namespace qsweep::quant::format
