#include <cmath>

#include "kernels/rope/rope.hpp"

namespace qsweep::kernels::ref {

void rope_table(const RopeTableArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t i = 0; i < args.half_dim; ++i) {
      const double angle = static_cast<float>(args.first + r) * args.frequencies[i];
      args.cos[r * args.half_dim + i] = static_cast<float>(std::cos(angle) * args.attention_factor);
      args.sin[r * args.half_dim + i] = static_cast<float>(std::sin(angle) * args.attention_factor);
    }
  }
}

void rope(const RopeArgs& args) {
  const int64_t half = args.head_dim / 2;
  for (int64_t r = 0; r < args.rows; ++r) {
    for (int64_t h = 0; h < args.heads; ++h) {
      float* x = args.x + r * args.ldx + h * args.head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const double cos = args.cos[r * half + i], sin = args.sin[r * half + i];
        const double a = x[i], b = x[i + half];
        x[i] = static_cast<float>(a * cos - b * sin);
        x[i + half] = static_cast<float>(b * cos + a * sin);
      }
    }
  }
}

}  // namespace qsweep::kernels::ref
