// attend() of one row on the GPU, a decoding step, against the references of what it joins.
#include "kernels/attend/attend.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gpu/on_gpu.hpp"
#include "kernels/rope/rope.hpp"

namespace qsweep {
namespace {

using kernels::CacheType;
using kernels::CacheView;
using test::half_ulp;
using test::OnGpu;
using test::random_values;

struct Shape {
  int64_t first, heads, kv_heads, dim;
};

struct Case {
  Shape s;
  CacheType type;
  bool normed;
  int64_t capacity, width;
  std::vector<float> qkv, cos, sin, norm;
  std::vector<std::byte> keys, values;  // unread positions are NaN or huge: reading one shows

  Case(Shape shape, CacheType t, bool n)
      : s(shape),
        type(t),
        normed(n),
        capacity(shape.first + 41),
        width((shape.heads + 2 * shape.kv_heads) * shape.dim),
        qkv(random_values(width, 31)),
        cos(static_cast<size_t>(shape.dim / 2)),
        sin(cos),
        norm(random_values(shape.dim, 32)) {
    const auto frequencies = kernels::rope_frequencies(10000, s.dim);
    kernels::rope_table({}, {frequencies.data(), 1, s.first, 1, s.dim / 2, cos.data(), sin.data()});
    keys.assign(
        static_cast<size_t>(s.kv_heads * capacity * s.dim * kernels::cache_element_bytes(type)),
        std::byte{0x7F});
    values = keys;
    const auto earlier = random_values(s.first * s.kv_heads * s.dim, 33);
    const int64_t ld = s.kv_heads * s.dim;
    kernels::cache_append({}, {earlier.data(), ld, s.first, 0, view(keys.data())});
    kernels::cache_append({}, {earlier.data(), ld, s.first, 0, view(values.data())});
  }

  CacheView view(void* data) const { return {data, type, s.kv_heads, capacity, s.dim}; }
  kernels::HeadsArgs heads(float* x, const float* weights, const float* c, const float* sn, void* k,
                           void* v) const {
    const float* used = normed ? weights : nullptr;
    return {x, width, 1, s.heads, s.first, used, used, 1e-6, c, sn, view(k), view(v)};
  }

  // Turns and places on the host: changes qkv, keys and values as the op changes its caches.
  void place() {
    kernels::place_heads(
        {}, heads(qkv.data(), norm.data(), cos.data(), sin.data(), keys.data(), values.data()));
  }
  // Of the turned query over these caches.
  std::vector<float> attention(std::vector<std::byte> k, std::vector<std::byte> v) const {
    std::vector<float> y(static_cast<size_t>(s.heads * s.dim));
    kernels::ref::attention({qkv.data(), width, 1, s.heads, s.first, view(k.data()), view(v.data()),
                             y.data(), s.heads * s.dim});
    return y;
  }

  struct Got {
    std::vector<float> y;
    std::vector<std::byte> keys, values;
  };
  Got on_gpu(bool position_on_gpu) const {
    OnGpu<float> gqkv(qkv), gcos(cos), gsin(sin), gnorm(norm);
    OnGpu<float> y(std::vector<float>(static_cast<size_t>(s.heads * s.dim), -77.0f));
    OnGpu<std::byte> gkeys(keys), gvalues(values);
    OnGpu<int32_t> position({static_cast<int32_t>(s.first)});
    auto args =
        heads(gqkv.data(), gnorm.data(), gcos.data(), gsin.data(), gkeys.data(), gvalues.data());
    if (position_on_gpu) {
      args.first = 0;
      args.position = position.data();
    }
    // A copy from the host has ended when it returns: with the position all is settled.
    kernels::attend(test::gpu_context(), {args, y.data(), s.heads * s.dim, position_on_gpu});
    return {y.back(), gkeys.back(), gvalues.back()};
  }
};

float element(const std::vector<std::byte>& bytes, CacheType type, size_t i) {
  if (type == CacheType::fp32) {
    float value = 0;
    std::memcpy(&value, bytes.data() + 4 * i, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, bytes.data() + 2 * i, 2);
  return bf16_to_float(bits);
}

// The new row stands where it should, and nothing else was touched.
void compare_cache(const Case& c, const std::vector<std::byte>& got,
                   const std::vector<std::byte>& expected, const std::vector<std::byte>& before,
                   double bound, test::Allowance& allowed) {
  for (int64_t head = 0; head < c.s.kv_heads; ++head) {
    for (int64_t i = 0; i < c.capacity * c.s.dim; ++i) {
      const auto at = static_cast<size_t>(head * c.capacity * c.s.dim + i);
      const auto size = static_cast<size_t>(kernels::cache_element_bytes(c.type));
      if (i / c.s.dim == c.s.first) {
        const float value = element(expected, c.type, at);
        const double rounding = c.type == CacheType::bf16 ? test::bf16_half_ulp * 2 : 0;
        allowed.check(element(got, c.type, at), value, bound + rounding * std::fabs(value),
                      "cache");
      } else {
        ASSERT_EQ(std::memcmp(got.data() + at * size, before.data() + at * size, size), 0) << at;
      }
    }
  }
}

TEST(AttendGpu, OneRowMatchesTheReferences) {
  QSWEEP_NEEDS_GPU();
  test::Allowance allowed("attend");
  for (const auto type : {CacheType::fp32, CacheType::bf16}) {
    for (const Shape& shape :
         {Shape{0, 1, 1, 2}, Shape{3, 4, 4, 96}, Shape{40, 4, 2, 64}, Shape{299, 6, 2, 96},
          Shape{130, 2, 1, 128}, Shape{1500, 3, 3, 32}, Shape{256, 2, 2, 10}, Shape{70, 2, 1, 256},
          Shape{1100, 2, 1, 96}, Shape{600, 2, 2, 256}, Shape{0, 8, 1, 64}, Shape{7, 7, 1, 128},
          Shape{255, 32, 8, 128}, Shape{256, 5, 5, 96}}) {
      for (const bool normed : {false, true}) {
        Case c(shape, type, normed);
        const auto first = c.on_gpu(false), again = c.on_gpu(true);
        const auto keys = c.keys, values = c.values;
        c.place();
        // The op's own cache: a key that was rounded the other way is compare_cache()'s business.
        const auto expected = c.attention(first.keys, first.values);
        // Turned heads, as in HeadsGpu; what that does to scores, with keys of 1 on average (4 with
        // the norm) and values up to 4; and the bound of attention.hpp.
        const double dim = static_cast<double>(shape.dim), reach = normed ? 4 : 1;
        const double turned = (dim / 8 + 20) * half_ulp * 2 * 16;
        const double bound = (static_cast<double>(shape.first) + dim / 8 + 48) * half_ulp *
                                 (1 + 7 * reach * reach) * 4 +
                             2 * turned * std::sqrt(dim) * reach * 4;
        for (size_t i = 0; i < expected.size(); ++i) {
          allowed.check(first.y[i], expected[i], bound, "y of " + std::to_string(shape.dim));
        }
        EXPECT_EQ(first.y, again.y);
        EXPECT_EQ(first.keys, again.keys);
        compare_cache(c, first.keys, c.keys, keys, turned, allowed);
        compare_cache(c, first.values, c.values, values, 0, allowed);
      }
    }
  }
}

}  // namespace
}  // namespace qsweep
