// Portable: eight lanes in an array, which compilers map to what the target has.
#include "kernels/simd/row_ops_isa.hpp"

namespace qsweep::kernels {
namespace {

constexpr int64_t width = 8;
constexpr float fp8_lane_scale = 1;

struct V {
  float lane[width];
};
struct Levels {
  float values[16];
};

template <class F>
V each(F f) {
  V result;
  for (int64_t i = 0; i < width; ++i) result.lane[i] = f(i);
  return result;
}

V zero() {
  return V{};
}
V set1(float value) {
  return each([&](int64_t) { return value; });
}
template <class T>
V load(const T* from) {
  return each([&](int64_t i) { return scalar(from[i]); });
}
V load_i8(const uint8_t* from) {
  return each([&](int64_t i) { return static_cast<float>(static_cast<int8_t>(from[i])); });
}
V load_u8(const uint8_t* from) {
  return each([&](int64_t i) { return static_cast<float>(from[i]); });
}
V load_fp8(const uint8_t* from) {
  return each([&](int64_t i) { return fp8_e4m3_to_float(from[i]); });
}
V fma(const V& a, const V& b, const V& c) {
  return each([&](int64_t i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
}
V add(const V& a, const V& b) {
  return each([&](int64_t i) { return a.lane[i] + b.lane[i]; });
}
V sub(const V& a, const V& b) {
  return each([&](int64_t i) { return a.lane[i] - b.lane[i]; });
}
V mul(const V& a, const V& b) {
  return each([&](int64_t i) { return a.lane[i] * b.lane[i]; });
}
V div(const V& a, const V& b) {
  return each([&](int64_t i) { return a.lane[i] / b.lane[i]; });
}
V max(const V& a, const V& b) {
  return each([&](int64_t i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}
V shift_exponent(const V& value, const V& n_bits) {
  return each([&](int64_t i) {
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value.lane[i]) +
                                (std::bit_cast<uint32_t>(n_bits.lane[i]) << 23));
  });
}
V zero_below(float limit, const V& x, const V& value) {
  return each([&](int64_t i) { return x.lane[i] < limit ? 0.0f : value.lane[i]; });
}
V minus_magnitude(const V& x) {
  return each([&](int64_t i) { return -std::fabs(x.lane[i]); });
}
V where_negative(const V& x, const V& negative, const V& otherwise) {
  return each(
      [&](int64_t i) { return std::signbit(x.lane[i]) ? negative.lane[i] : otherwise.lane[i]; });
}
void store(float* to, const V& value) {
  for (int64_t i = 0; i < width; ++i) to[i] = value.lane[i];
}
float sum(const V& v) {
  return ((v.lane[0] + v.lane[4]) + (v.lane[1] + v.lane[5])) +
         ((v.lane[2] + v.lane[6]) + (v.lane[3] + v.lane[7]));
}
Levels load_levels(const float* values) {
  Levels levels;
  for (int i = 0; i < 16; ++i) levels.values[i] = values[i];
  return levels;
}
Levels levels_minus(Levels levels, float zero_point) {
  for (float& value : levels.values) value -= zero_point;
  return levels;
}
void load_nibbles(const uint8_t* bytes, const Levels& levels, V& low, V& high) {
  low = each([&](int64_t i) { return levels.values[bytes[i] & 15]; });
  high = each([&](int64_t i) { return levels.values[bytes[i] >> 4]; });
}
template <bool high_first>
void load_4bit(const uint8_t* bytes, const Levels& levels, V& a, V& b) {
  float codes[2 * width];
  for (int64_t i = 0; i < width; ++i) {
    const float low = levels.values[bytes[i] & 15], high = levels.values[bytes[i] >> 4];
    codes[2 * i] = high_first ? high : low;
    codes[2 * i + 1] = high_first ? low : high;
  }
  a = load(codes);
  b = load(codes + width);
}

#include "kernels/simd/row_ops_body.inc"

constexpr RowOps table = make_row_ops("generic");

}  // namespace

const RowOps* row_ops_generic() {
  return &table;
}

}  // namespace qsweep::kernels
