// The host's codecs are both the reference and the CPU body: a row is decoded at a time.
#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.hpp"
#include "kernels/common.hpp"
#include "kernels/quantize/quantize.hpp"
#include "quant/format/groups.hpp"

namespace qsweep::kernels {
namespace {

using quant::PackedMatrix;

void add(ErrorSums& sums, const float* w, const float* v, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const double a = w[i], b = v[i];
    sums.error += (a - b) * (a - b);
    sums.energy += a * a;
    sums.decoded += b * b;
    sums.product += a * b;
  }
}

// Sums of every group [count], which the layout of the format cuts; the matrix is one run of
// `width`-long lines.
std::vector<ErrorSums> sums_by_group(const PackedMatrix& packed, std::span<const float> weights) {
  const auto groups = quant::format::groups_of(packed.spec, packed.rows, packed.cols);
  std::vector<ErrorSums> sums(static_cast<size_t>(groups.count()));
  std::vector<float> row(static_cast<size_t>(packed.cols));
  for (int64_t r = 0; r < packed.rows; ++r) {
    quant::dequantize_rows(packed, r, 1, row.data());
    for (int64_t at = 0; at < packed.cols;) {
      const int64_t element = r * packed.cols + at;
      const int64_t line = element / groups.width, within = element % groups.width;
      const int64_t g = within / groups.size;
      const int64_t end =
          std::min({groups.width, (g + 1) * groups.size, within + packed.cols - at});
      const int64_t n = end - within;
      add(sums[static_cast<size_t>(groups.index(line, g))], weights.data() + element,
          row.data() + at, n);
      at += n;
    }
  }
  return sums;
}

std::vector<float> values_of(const PackedMatrix& weights) {
  expect(!quant::has_scales(weights.spec.id), "weights to be quantized have no scales");
  std::vector<float> values(static_cast<size_t>(weights.rows * weights.cols));
  quant::dequantize_rows(weights, 0, weights.rows, values.data());
  return values;
}

}  // namespace

double relative_error(double error, double energy) {
  if (energy > 0) return error / energy;
  return error > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

ErrorSums cpu::quantization_error(const PackedMatrix& packed, std::span<const float> weights) {
  expect(weights.size() == static_cast<uint64_t>(packed.rows * packed.cols),
         "the original weights have the shape of the packed matrix");
  ErrorSums total;
  for (const ErrorSums& group : sums_by_group(packed, weights)) {
    total.error += group.error;
    total.energy += group.energy;
    total.decoded += group.decoded;
    total.product += group.product;
    total.worst_group = std::max(total.worst_group, relative_error(group.error, group.energy));
  }
  return total;
}

PackedMatrix quantize(const device::Context& context, const quant::FormatSpec& spec,
                      const PackedMatrix& weights) {
  if (on_gpu(context)) return cuda::quantize(context, spec, weights);
  count(context, "quantize/rtn");
  return quant::quantize_rtn(spec, values_of(weights), weights.rows, weights.cols,
                             threads_of(context));
}

ErrorSums quantization_error(const device::Context& context, const PackedMatrix& packed,
                             const PackedMatrix& weights) {
  if (on_gpu(context)) return cuda::quantization_error(context, packed, weights);
  count(context, "quantize/error");
  return cpu::quantization_error(packed, values_of(weights));
}

}  // namespace qsweep::kernels
