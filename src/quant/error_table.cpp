// The error of one quantized matrix, summed in double row by row so that only one decoded row is
// held.
#include "quant/error_table.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "quant/format/groups.hpp"

namespace qsweep::quant {
namespace {

// Sums over a stretch of weights w and decoded values v.
struct Sums {
  double error = 0;    // (w - v)^2
  double energy = 0;   // w^2
  double decoded = 0;  // v^2
  double product = 0;  // w v
  void add(const float* w, const float* v, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const double a = w[i], b = v[i];
      error += (a - b) * (a - b);
      energy += a * a;
      decoded += b * b;
      product += a * b;
    }
  }
  void add(const Sums& other) {
    error += other.error;
    energy += other.energy;
    decoded += other.decoded;
    product += other.product;
  }
};

// Nothing wrong with nothing is no error; something wrong with nothing is all wrong.
double ratio(double error, double energy) {
  if (energy > 0) return error / energy;
  return error > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

// Sums of every group [count], which the layout of the format cuts; the matrix is one run of
// `width`-long lines.
std::vector<Sums> sums_by_group(const PackedMatrix& packed, std::span<const float> weights) {
  const format::Groups groups = format::groups_of(packed.spec, packed.rows, packed.cols);
  std::vector<Sums> sums(static_cast<size_t>(groups.count()));
  std::vector<float> row(static_cast<size_t>(packed.cols));
  for (int64_t r = 0; r < packed.rows; ++r) {
    dequantize_rows(packed, r, 1, row.data());
    for (int64_t at = 0; at < packed.cols;) {
      const int64_t element = r * packed.cols + at;
      const int64_t line = element / groups.width, within = element % groups.width;
      const int64_t g = within / groups.size;
      const int64_t end =
          std::min({groups.width, (g + 1) * groups.size, within + packed.cols - at});
      const int64_t n = end - within;
      sums[static_cast<size_t>(groups.index(line, g))].add(weights.data() + element,
                                                           row.data() + at, n);
      at += n;
    }
  }
  return sums;
}

}  // namespace

TensorError measure_error(const std::string& tensor, int64_t layer, const PackedMatrix& packed,
                          std::span<const float> weights) {
  expect(weights.size() == static_cast<uint64_t>(packed.rows * packed.cols),
         "the original weights have the shape of the packed matrix");
  TensorError result;
  result.tensor = tensor;
  result.layer = layer;
  result.spec = packed.spec;
  result.rows = packed.rows;
  result.cols = packed.cols;
  result.code_bytes = packed.codes.size();
  result.scale_bytes = packed.scales.size() + packed.zeros.size();
  Sums total;
  for (const Sums& group : sums_by_group(packed, weights)) {
    total.add(group);
    result.worst_group = std::max(result.worst_group, ratio(group.error, group.energy));
  }
  result.relative_mse = ratio(total.error, total.energy);
  const double norms = std::sqrt(total.energy) * std::sqrt(total.decoded);
  result.cosine = norms > 0 ? total.product / norms : total.energy == total.decoded ? 1.0 : 0.0;
  return result;
}

}  // namespace qsweep::quant
