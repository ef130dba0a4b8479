// The GPU strategies behind attention(); see attention.hpp. One row of a decoding step is attend/.
#pragma once

#include "kernels/attention/attention.hpp"

namespace qsweep::kernels::cuda {

// Whether attention_flash() can: bf16 caches of the same capacity, head_dim 64, 96 or 128, q, y and
// caches aligned to 16 bytes (y: 8), ldq a multiple of 4 and ldy of 2.
bool flash_serves(const AttentionArgs& args);

// Scores, weights and sums of 128 rows of a head stay in registers while keys and values pass by in
// tiles of 64 positions; both products on the tensor cores, softmax as the largest score so far
// has it. q is rounded to bf16, which changes nothing where activations are. The order of every sum
// is fixed: results are the same bits from run to run.
//
// With u = 2^-24, n positions and S = sum |q_i k_i| / sqrt(D), the largest of the row,
//   |error| <= 2^-8 sum_t p[t] |v[t]| + (4 n + (5 D + 8) S + 16) u max|v|,
// and 2^-8 |y| more where y is rounded. Weights are rounded to bf16, not yet divided by their sum:
// 2^-8 of each. Products of bf16 are exact in fp32. Of what is summed the tensor cores may cut off
// 2 u of the largest: 2 n u for the values, 2.2 D u S for a score (one sum more in 16). A weight
// carries, beside the error of its score, 2 S u from rounding the exponent, 2 S u from the factor
// in it, and 4 u of exp2; what is wrong with it counts twice, in y and in the sum of weights. That
// sum takes n u, scaling down 2 u for each 64 positions; the factors of scaling down act on both
// alike.
void attention_flash(const device::Context& context, const AttentionArgs& args);

// Q K^T by cuBLAS, softmax over each row, P V by cuBLAS; rows in chunks whose scores
// take at most 256 MB. With bf16 activations q and the probabilities are bf16 operands.
void attention_products(const device::Context& context, const AttentionArgs& args);

}  // namespace qsweep::kernels::cuda
