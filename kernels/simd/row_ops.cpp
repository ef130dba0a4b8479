#include "kernels/simd/row_ops.hpp"

#include "kernels/simd/row_ops_isa.hpp"

namespace qsweep::kernels {

std::vector<const RowOps*> all_row_ops() {
  std::vector<const RowOps*> found;
  for (const RowOps* ops : {row_ops_avx512(), row_ops_avx2(), row_ops_generic()}) {
    if (ops != nullptr) found.push_back(ops);
  }
  return found;
}

const RowOps& row_ops() {
  static const RowOps& best = *all_row_ops().front();
  return best;
}

}  // namespace qsweep::kernels
