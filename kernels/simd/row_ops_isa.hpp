// What the instruction sets share: the tables they offer and the 2-byte types that tell loads
// apart.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/half.hpp"
#include "kernels/simd/row_ops.hpp"

namespace qsweep::kernels {

struct Bf16 {
  uint16_t bits;
};
struct Fp16 {
  uint16_t bits;
};
inline float scalar(float value) {
  return value;
}
inline float scalar(Bf16 value) {
  return bf16_to_float(value.bits);
}
inline float scalar(Fp16 value) {
  return fp16_to_float(value.bits);
}

// Null where the compiler or the CPU lacks the instruction set.
const RowOps* row_ops_generic();
const RowOps* row_ops_avx2();
const RowOps* row_ops_avx512();

}  // namespace qsweep::kernels
