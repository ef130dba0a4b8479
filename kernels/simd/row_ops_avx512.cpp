// AVX-512 (F, BW, DQ, VL): 16 lanes. 4-bit codes become values by one permute over a register of 16
// levels; fp8 goes through fp16, whose conversion takes subnormals at full speed: e4m3 bits moved
// to fp16's place read 2^-8 low.
#include "kernels/simd/row_ops_isa.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
// GCC 12 takes the undefined operand of its own unmasked intrinsics for a fault (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")

namespace qsweep::kernels {
namespace {

constexpr int64_t width = 16;
constexpr float fp8_lane_scale = 256;

using V = __m512;
using Levels = __m512;

V zero() {
  return _mm512_setzero_ps();
}
V set1(float value) {
  return _mm512_set1_ps(value);
}
__m128i bytes16(const uint8_t* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
V load(const float* from) {
  return _mm512_loadu_ps(from);
}
V load(const Bf16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
V load(const Fp16* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
V load_i8(const uint8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes16(from)));
}
V load_u8(const uint8_t* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes16(from)));
}
V load_fp8(const uint8_t* from) {
  // Sign-extended, then moved: the sign comes to stand in bit 15, exponent and mantissa in 13..7.
  const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes16(from)), 7);
  return _mm512_cvtph_ps(_mm256_and_si256(wide, _mm256_set1_epi16(static_cast<int16_t>(0xBF80))));
}
V fma(V a, V b, V c) {
  return _mm512_fmadd_ps(a, b, c);
}
V add(V a, V b) {
  return _mm512_add_ps(a, b);
}
V sub(V a, V b) {
  return _mm512_sub_ps(a, b);
}
V mul(V a, V b) {
  return _mm512_mul_ps(a, b);
}
V div(V a, V b) {
  return _mm512_div_ps(a, b);
}
// b where either is NaN, as in every instruction set here.
V max(V a, V b) {
  return _mm512_max_ps(a, b);
}
// value * 2^n, n in the low bits of `n_bits`.
V shift_exponent(V value, V n_bits) {
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value),
                                              _mm512_slli_epi32(_mm512_castps_si512(n_bits), 23)));
}
// 0 where x < limit, else value; NaN is not below.
V zero_below(float limit, V x, V value) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, set1(limit), _CMP_NLT_UQ), value);
}
V minus_magnitude(V x) {
  return _mm512_castsi512_ps(
      _mm512_or_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0x80000000u))));
}
// `negative` in lanes whose x has its sign set.
V where_negative(V x, V negative, V otherwise) {
  return _mm512_mask_mov_ps(otherwise, _mm512_movepi32_mask(_mm512_castps_si512(x)), negative);
}
void store(float* to, V value) {
  _mm512_storeu_ps(to, value);
}
float sum(V v) {
  return _mm512_reduce_add_ps(v);
}
Levels load_levels(const float* values) {
  return _mm512_loadu_ps(values);
}
Levels levels_minus(Levels levels, float zero_point) {
  return _mm512_sub_ps(levels, _mm512_set1_ps(zero_point));
}
// Levels of the low nibbles of 16 bytes, and of the high ones. The permute looks at the low four
// bits of an index alone.
void load_nibbles(const uint8_t* bytes, Levels levels, V& low, V& high) {
  const __m512i codes = _mm512_cvtepu8_epi32(bytes16(bytes));
  low = _mm512_permutexvar_ps(codes, levels);
  high = _mm512_permutexvar_ps(_mm512_srli_epi32(codes, 4), levels);
}
template <bool high_first>
void load_4bit(const uint8_t* bytes, Levels levels, V& a, V& b) {
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i packed = bytes16(bytes);
  const __m128i low = _mm_and_si128(packed, mask);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), mask);
  const __m128i even = high_first ? high : low, odd = high_first ? low : high;
  a = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(even, odd)), levels);
  b = _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_unpackhi_epi8(even, odd)), levels);
}

#include "kernels/simd/row_ops_body.inc"

constexpr RowOps table = make_row_ops("avx512");

}  // namespace
}  // namespace qsweep::kernels
#pragma GCC reset_options
#endif

namespace qsweep::kernels {

const RowOps* row_ops_avx512() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      row_ops_avx2() != nullptr) {
    return &table;
  }
#endif
  return nullptr;
}

}  // namespace qsweep::kernels
