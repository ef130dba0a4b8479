// dq8: the double quantization of bitsandbytes. offset = mean(scales); scales - offset are
// quantized in blocks of 256 to indices of the signed dynamic map, scaled by the block's absmax:
// scale = map[index] * absmax[i / 256] + offset. Stored as [count index bytes | fp32 absmax a block
// | fp32 offset], unpadded.
//
// Map (create_dynamic_map(signed, 7 exponent bits, 8 bits)): for decade i = 0..6, +-10^(i-6) times
// the midpoints of 2^i equal parts of [0.1, 1], and 0 and 1; sorted, 256 values. An index is the
// nearest value, a tie to the even index (where the reference's binary search stops). The mean is
// summed in double in order. As in bitsandbytes, weight codes are chosen against the exact scale,
// not the decoded one: a decoded scale may be off by several percent or even negative where a
// block's absmax is far below the mean.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "quant/format/bits.hpp"
#include "quant/format/format.hpp"

namespace qsweep::quant::format {

inline constexpr int64_t dq8_block = 256;

constexpr std::array<float, 256> make_dynamic_map() {
  constexpr float decades[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  std::array<float, 256> map{};
  size_t filled = 0;
  for (int i = 0; i < 7; ++i) {
    const int parts = 1 << i, points = parts + 1;
    const float step = (1.0f - 0.1f) / static_cast<float>(parts);
    // Counted from the nearer end, as torch.linspace does, so that both ends are exact.
    const auto boundary = [&](int k) {
      return k < points / 2 ? 0.1f + step * static_cast<float>(k)
                            : 1.0f - step * static_cast<float>(parts - k);
    };
    for (int k = 0; k < parts; ++k) {
      const float value = decades[i] * ((boundary(k) + boundary(k + 1)) / 2.0f);
      map[filled++] = value;
      map[filled++] = -value;
    }
  }
  map[filled++] = 0.0f;
  map[filled++] = 1.0f;
  std::sort(map.begin(), map.end());
  return map;
}
inline constexpr std::array<float, 256> dynamic_map = make_dynamic_map();
static_assert(dynamic_map[127] == 0.0f && dynamic_map[255] == 1.0f);

struct Dq8ScaleReader {
  const uint8_t* indices;  // [count]
  const uint8_t* absmax;   // fp32 [blocks], then the offset, at any address
  int64_t blocks;
  const float* map;  // [256], in the memory of whoever reads
  QSWEEP_HD float operator()(int64_t i) const {
    float block_absmax, offset;
    std::memcpy(&block_absmax, absmax + (i / dq8_block) * 4, 4);
    std::memcpy(&offset, absmax + blocks * 4, 4);
    return map[indices[i]] * block_absmax + offset;
  }
};

struct ScaleDq8 {
  static constexpr ScaleCodecId id = ScaleCodecId::dq8;
  static constexpr bool codes_follow_exact = true;
  using Reader = Dq8ScaleReader;

  static int bits(const ScaleCodec&) { return 8; }
  QSWEEP_HD static int64_t blocks(int64_t count) { return (count + dq8_block - 1) / dq8_block; }
  static uint64_t bytes(const ScaleCodec&, int64_t count) {
    return static_cast<uint64_t>(count + 4 * blocks(count) + 4);
  }

  // map: as the reader has it. The first value that is not below `normalized`, or the one before
  // it.
  QSWEEP_HD static uint8_t encode_one(float normalized, const float* map = dynamic_map.data()) {
    unsigned above = 0;
    for (unsigned step = 128; step > 0; step /= 2) {
      if (map[above + step - 1] < normalized) above += step;
    }
    if (above == 0) return 0;
    if (map[above] < normalized) return 255;  // beyond the last value, where `above` stops at 255
    const float midpoint = (map[above - 1] + map[above]) * 0.5f;
    if (normalized == midpoint) return static_cast<uint8_t>(above % 2 == 0 ? above : above - 1);
    return static_cast<uint8_t>(normalized > midpoint ? above : above - 1);
  }
  // A scale's distance from the offset as a share of its block's largest.
  QSWEEP_HD static float normalized(float scale, float offset, float absmax) {
    return absmax > 0 ? (scale - offset) / absmax : 0.0f;
  }
  static void encode(const ScaleCodec&, std::span<const float> scales, uint8_t* out) {
    const auto count = static_cast<int64_t>(scales.size());
    double sum = 0;
    for (const float scale : scales) sum += scale;
    const auto offset = static_cast<float>(sum / static_cast<double>(count));
    for (int64_t block = 0; block < blocks(count); ++block) {
      const int64_t begin = block * dq8_block, end = std::min(count, begin + dq8_block);
      float absmax = 0;
      for (int64_t i = begin; i < end; ++i) {
        absmax = std::max(absmax, std::fabs(scales[static_cast<size_t>(i)] - offset));
      }
      for (int64_t i = begin; i < end; ++i) {
        out[i] = encode_one(normalized(scales[static_cast<size_t>(i)], offset, absmax),
                            dynamic_map.data());
      }
      std::memcpy(out + count + 4 * block, &absmax, 4);
    }
    std::memcpy(out + count + 4 * blocks(count), &offset, 4);
  }
  static Reader reader(const ScaleCodec&, const uint8_t* data, int64_t count) {
    return {data, data + count, blocks(count), dynamic_map.data()};
  }
};

}  // namespace qsweep::quant::format
