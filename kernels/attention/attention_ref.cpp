#include <algorithm>
#include <cmath>
#include <vector>

#include "base/half.hpp"
#include "kernels/attention/attention.hpp"

namespace qsweep::kernels::ref {
namespace {

double element(const CacheView& cache, int64_t head, int64_t position, int64_t i) {
  const int64_t at = (head * cache.capacity + position) * cache.head_dim + i;
  return cache.type == CacheType::fp32
             ? static_cast<const float*>(cache.data)[at]
             : bf16_to_float(static_cast<const uint16_t*>(cache.data)[at]);
}

}  // namespace

void attention(const AttentionArgs& args) {
  const int64_t dim = args.keys.head_dim, group = args.heads / args.keys.kv_heads;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t h = 0; h < args.heads; ++h) {
      const float* q = args.q + r * args.ldq + h * dim;
      std::vector<double> p(static_cast<size_t>(args.first + r + 1));
      for (size_t t = 0; t < p.size(); ++t) {
        for (int64_t i = 0; i < dim; ++i) {
          p[t] += q[i] * element(args.keys, h / group, static_cast<int64_t>(t), i);
        }
        p[t] /= std::sqrt(static_cast<double>(dim));
      }
      const double largest = *std::max_element(p.begin(), p.end());
      double sum = 0;
      for (double& value : p) sum += value = std::exp(value - largest);
      for (int64_t i = 0; i < dim; ++i) {
        double y = 0;
        for (size_t t = 0; t < p.size(); ++t) {
          y += p[t] / sum * element(args.values, h / group, static_cast<int64_t>(t), i);
        }
        args.y[r * args.ldy + h * dim + i] = static_cast<float>(y);
      }
    }
  }
}

}  // namespace qsweep::kernels::ref
