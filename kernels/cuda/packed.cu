#include "kernels/cuda/packed.cuh"

#include "base/error.hpp"

namespace qsweep::kernels::cuda {

PackedView view_of(const PackedMatrix& matrix) {
  expect(matrix.codes.place() == device::Place::gpu, "weights of a GPU op lie on the GPU");
  PackedView view;
  view.codes = matrix.codes.as<uint8_t>();
  view.rows = matrix.rows;
  view.cols = matrix.cols;
  view.groups = format::groups_of(matrix.spec, matrix.rows, matrix.cols);
  view.asymmetric = !matrix.spec.symmetric;
  if (view.asymmetric) view.zeros = format::zero_reader(matrix);
  if (!quant::has_scales(matrix.spec.id)) return view;
  ScaleView& scale = view.scale;
  scale.id = matrix.spec.scale.id;
  scale.data = matrix.scales.as<uint8_t>();
  scale.count = view.groups.count();
  scale.bytes = matrix.scales.size();
  scale.width = quant::scale_bits(matrix.spec.scale);
  scale.mantissa_bits = matrix.spec.scale.mantissa_bits;
  return view;
}

}  // namespace qsweep::kernels::cuda
