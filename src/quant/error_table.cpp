#include "quant/error_table.hpp"

#include <cmath>

namespace qsweep::quant {

TensorError measure_error(const std::string& tensor, int64_t layer, const PackedMatrix& packed,
                          const kernels::ErrorSums& sums) {
  TensorError result;
  result.tensor = tensor;
  result.layer = layer;
  result.spec = packed.spec;
  result.rows = packed.rows;
  result.cols = packed.cols;
  result.code_bytes = packed.codes.size();
  result.scale_bytes = packed.scales.size() + packed.zeros.size();
  result.worst_group = sums.worst_group;
  result.relative_mse = kernels::relative_error(sums.error, sums.energy);
  const double norms = std::sqrt(sums.energy) * std::sqrt(sums.decoded);
  result.cosine = norms > 0 ? sums.product / norms : sums.energy == sums.decoded ? 1.0 : 0.0;
  return result;
}

TensorError measure_error(const std::string& tensor, int64_t layer, const PackedMatrix& packed,
                          std::span<const float> weights) {
  return measure_error(tensor, layer, packed, kernels::cpu::quantization_error(packed, weights));
}

}  // namespace qsweep::quant
