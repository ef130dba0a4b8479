// What a quantized weight matrix is: the format of its codes, its groups, the codec of its scales,
// and the packed bytes. W [rows = out, cols = in], row-major:
// W[r,c] ~ level(code[r,c], zero) * scale[group(r,c)].
//
// Codes. int4: two a byte, even column in the low nibble, rows padded to whole bytes, two's
// complement (symmetric) or unsigned with a zero point (asymmetric). nf4: the tensor flattened
// row-major, blocks of `group` elements ignoring rows, first element of a pair in the HIGH nibble
// (bitsandbytes). int8, fp8_e4m3: a byte. bf16, fp16: 2 bytes. fp32: 4 bytes. But for nf4 a group
// never crosses a row; the last of a row may be short.
//
// Scales [rows * groups_per_row] (nf4: one a block; per tensor: one), coded by the scale codec;
// e5mK codes form one bit stream, least significant bit first, code i at bits [i*b, (i+1)*b),
// padded to a byte.
//
// Zeros, asymmetric only: one a group, unsigned, packed like the codes of a [rows, groups] matrix
// (per tensor: of a [1, 1] matrix).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/names.hpp"
#include "device/buffer.hpp"

namespace qsweep::quant {

enum class FormatId { fp32, fp16, bf16, fp8_e4m3, int8, int4, nf4 };
enum class ScaleCodecId { none, fp32, fp16, bf16, e5m, dq8 };
// published: SMQ's definition, truncate at 0 mantissa bits, else nearest-even with carry; nearest:
// ties to even at every K; up: never below the exact scale (no clipping).
enum class ScaleRounding { published, nearest, up };

struct ScaleCodec {
  ScaleCodecId id = ScaleCodecId::fp32;
  int mantissa_bits = 0;  // e5m only: 0..10
  bool sign_bit = true;   // e5m only: keep the (always zero) sign as published
  ScaleRounding rounding = ScaleRounding::published;  // e5m only
  bool operator==(const ScaleCodec&) const = default;
};

inline constexpr int64_t per_channel = 0;  // one scale a row
inline constexpr int64_t per_tensor = -1;  // one scale in all

struct FormatSpec {
  FormatId id = FormatId::bf16;
  int64_t group = per_channel;  // elements along `in` sharing a scale, or per_channel / per_tensor
  bool symmetric = true;
  ScaleCodec scale = {};  // ignored by bf16, fp16, fp32
  bool operator==(const FormatSpec&) const = default;
};

int code_bits(FormatId id);    // 32, 16, 16, 8, 8, 4, 4
bool has_scales(FormatId id);  // false for fp32, fp16, bf16
// Bits of one coded scale, without the second level of dq8 (8 bits + fp32 per 256 + one fp32
// offset).
int scale_bits(const ScaleCodec& codec);
// "int4 g128 e5m5", "int8 channel fp32", "nf4 g64 dq8", "bf16": for people, logs and kernel names.
std::string to_string(const FormatSpec& spec);
std::string to_string(const ScaleCodec& codec);

// Bytes that a matrix of this shape takes, by the formula of the format (the certificate compares).
struct PackedSize {
  uint64_t codes = 0, scales = 0, zeros = 0;
  uint64_t total() const { return codes + scales + zeros; }
};
// Throws Error{invalid_input} where there is a shape_problem.
PackedSize packed_size(const FormatSpec& spec, int64_t rows, int64_t cols);
// Why the spec contradicts itself whatever the shape, or empty.
std::string spec_problem(const FormatSpec& spec);
// Why the format cannot hold this shape (spec_problem included), or empty.
std::string shape_problem(const FormatSpec& spec, int64_t rows, int64_t cols);

struct PackedMatrix {
  FormatSpec spec;
  int64_t rows = 0, cols = 0;
  device::Buffer codes;
  device::Buffer scales;  // dq8: [index bytes | fp32 absmax per 256 indices | fp32 offset]
  device::Buffer zeros;
  // Scales a row. 0 for formats without scales. nf4 blocks ignore rows: rows * cols / group blocks
  // in all, this is then cols / group rounded up.
  int64_t groups_per_row() const;
  uint64_t bytes() const { return codes.size() + scales.size() + zeros.size(); }
};

// A matrix of this spec and shape with uninitialised bytes. Throws Error{invalid_input} where there
// is a shape_problem.
PackedMatrix allocate_packed(const FormatSpec& spec, int64_t rows, int64_t cols,
                             device::Place place = device::Place::host);

// Round-to-nearest quantization of W [rows, cols] fp32 row-major. Scales: symmetric int4 absmax/7,
// int8 absmax/127, fp8 absmax/448, nf4 absmax; asymmetric (max-min)/(2^b-1) with min,max forced to
// include 0; absmax and max-min are at least 1e-8. The scale is coded first and codes are chosen
// against the decoded scale (dq8: against the exact one, as bitsandbytes does): code =
// clamp(round_even(w / scale)), asymmetric zero = clamp(round_even(-min / scale)), code =
// clamp(round_even(w / scale) + zero). Throws Error{invalid_input} for a shape the format cannot
// hold, or a weight that is not finite or beyond 1e36 (decoding could overflow). `threads`: worker
// threads; same bytes always.
PackedMatrix quantize_rtn(const FormatSpec& spec, std::span<const float> weights, int64_t rows,
                          int64_t cols, int threads = 1);
// What it throws for such weights, wherever they were found.
[[noreturn]] void throw_bad_weight(int64_t row, int64_t col, float value);
[[noreturn]] void throw_not_storable(const FormatSpec& spec, float value);
// Wraps raw bf16/fp16/fp32 bytes, little-endian [rows, cols], unchanged, in the place given.
PackedMatrix pack_raw(FormatId id, std::span<const std::byte> bytes, int64_t rows, int64_t cols,
                      device::Place place = device::Place::host);
// The same bytes in another place; the layout is the same everywhere.
PackedMatrix placed(PackedMatrix matrix, device::Place place);

// out [row_count, cols] fp32: rows [row, row + row_count) decoded. The single decode path of the
// host, of matrices that lie there.
void dequantize_rows(const PackedMatrix& matrix, int64_t row, int64_t row_count, float* out);
// Decoded scales, one a group, row-major [rows, groups_per_row] (nf4: one a block; per tensor: one
// in all; empty for formats without scales).
std::vector<float> decode_scales(const PackedMatrix& matrix);

}  // namespace qsweep::quant

template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::FormatId> =
    std::to_array<qsweep::NamePair<qsweep::quant::FormatId>>(
        {{qsweep::quant::FormatId::fp32, "fp32"},
         {qsweep::quant::FormatId::fp16, "fp16"},
         {qsweep::quant::FormatId::bf16, "bf16"},
         {qsweep::quant::FormatId::fp8_e4m3, "fp8_e4m3"},
         {qsweep::quant::FormatId::int8, "int8"},
         {qsweep::quant::FormatId::int4, "int4"},
         {qsweep::quant::FormatId::nf4, "nf4"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::ScaleCodecId> =
    std::to_array<qsweep::NamePair<qsweep::quant::ScaleCodecId>>(
        {{qsweep::quant::ScaleCodecId::none, "none"},
         {qsweep::quant::ScaleCodecId::fp32, "fp32"},
         {qsweep::quant::ScaleCodecId::fp16, "fp16"},
         {qsweep::quant::ScaleCodecId::bf16, "bf16"},
         {qsweep::quant::ScaleCodecId::e5m, "e5m"},
         {qsweep::quant::ScaleCodecId::dq8, "dq8"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::quant::ScaleRounding> =
    std::to_array<qsweep::NamePair<qsweep::quant::ScaleRounding>>(
        {{qsweep::quant::ScaleRounding::published, "published"},
         {qsweep::quant::ScaleRounding::nearest, "nearest"},
         {qsweep::quant::ScaleRounding::up, "up"}});
