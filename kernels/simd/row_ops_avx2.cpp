// AVX2 with FMA and F16C: 8 lanes. The 16 levels take two registers, chosen between by the code's
// top bit.
#include "kernels/simd/row_ops_isa.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma GCC target("avx2,fma,f16c")

namespace qsweep::kernels {
namespace {

constexpr int64_t width = 8;
constexpr float fp8_lane_scale = 256;  // see row_ops_avx512.cpp

using V = __m256;
struct Levels {
  __m256 low, high;
};

V zero() {
  return _mm256_setzero_ps();
}
V set1(float value) {
  return _mm256_set1_ps(value);
}
__m128i bytes8(const uint8_t* from) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
}
V load(const float* from) {
  return _mm256_loadu_ps(from);
}
V load(const Bf16* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
V load(const Fp16* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
V load_i8(const uint8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes8(from)));
}
V load_u8(const uint8_t* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes8(from)));
}
V load_fp8(const uint8_t* from) {
  const __m128i wide = _mm_slli_epi16(_mm_cvtepi8_epi16(bytes8(from)), 7);
  return _mm256_cvtph_ps(_mm_and_si128(wide, _mm_set1_epi16(static_cast<int16_t>(0xBF80))));
}
V fma(V a, V b, V c) {
  return _mm256_fmadd_ps(a, b, c);
}
V add(V a, V b) {
  return _mm256_add_ps(a, b);
}
V sub(V a, V b) {
  return _mm256_sub_ps(a, b);
}
V mul(V a, V b) {
  return _mm256_mul_ps(a, b);
}
V div(V a, V b) {
  return _mm256_div_ps(a, b);
}
V max(V a, V b) {
  return _mm256_max_ps(a, b);
}
V shift_exponent(V value, V n_bits) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value),
                                              _mm256_slli_epi32(_mm256_castps_si256(n_bits), 23)));
}
V zero_below(float limit, V x, V value) {
  return _mm256_and_ps(_mm256_cmp_ps(x, set1(limit), _CMP_NLT_UQ), value);
}
V minus_magnitude(V x) {
  return _mm256_or_ps(x, set1(-0.0f));
}
V where_negative(V x, V negative, V otherwise) {
  return _mm256_blendv_ps(otherwise, negative, x);
}
void store(float* to, V value) {
  _mm256_storeu_ps(to, value);
}
float sum(V v) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}
Levels load_levels(const float* values) {
  return {_mm256_loadu_ps(values), _mm256_loadu_ps(values + 8)};
}
Levels levels_minus(const Levels& levels, float zero_point) {
  const __m256 offset = _mm256_set1_ps(zero_point);
  return {_mm256_sub_ps(levels.low, offset), _mm256_sub_ps(levels.high, offset)};
}
// The low four bits of each index count.
V look_up(__m256i index, const Levels& levels) {
  const __m256 low = _mm256_permutevar8x32_ps(levels.low, index);
  const __m256 high = _mm256_permutevar8x32_ps(levels.high, index);
  // Bit 3 of the code moved to the sign bit, where blendv looks.
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
void load_nibbles(const uint8_t* bytes, const Levels& levels, V& low, V& high) {
  const __m256i codes = _mm256_cvtepu8_epi32(bytes8(bytes));
  low = look_up(codes, levels);
  high = look_up(_mm256_srli_epi32(codes, 4), levels);
}
template <bool high_first>
void load_4bit(const uint8_t* bytes, const Levels& levels, V& a, V& b) {
  const __m128i mask = _mm_set1_epi8(15);
  const __m128i packed = bytes8(bytes);
  const __m128i low = _mm_and_si128(packed, mask);
  const __m128i high = _mm_and_si128(_mm_srli_epi16(packed, 4), mask);
  const __m128i codes = high_first ? _mm_unpacklo_epi8(high, low) : _mm_unpacklo_epi8(low, high);
  a = look_up(_mm256_cvtepu8_epi32(codes), levels);
  b = look_up(_mm256_cvtepu8_epi32(_mm_srli_si128(codes, 8)), levels);
}

#include "kernels/simd/row_ops_body.inc"

constexpr RowOps table = make_row_ops("avx2");

}  // namespace
}  // namespace qsweep::kernels
#pragma GCC reset_options
#endif

namespace qsweep::kernels {

const RowOps* row_ops_avx2() {
#if defined(__x86_64__)
  // Every CPU with AVX2 has F16C, which came a generation earlier.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &table;
#endif
  return nullptr;
}

}  // namespace qsweep::kernels
