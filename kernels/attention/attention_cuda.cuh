// The GPU strategies behind attention(); see attention.hpp.
#pragma once

#include "kernels/attention/attention.hpp"

namespace qsweep::kernels::cuda {

// One row: positions are cut into stretches of a fixed length, each with its own block for each
// head; a second kernel joins them in order. Scores and sums in fp32, the denominator too; the
// probabilities are not rounded.
void attention_split_kv(const device::Context& context, const AttentionArgs& args);

// Several rows: Q K^T by cuBLAS, softmax over each row, P V by cuBLAS; rows in chunks whose scores
// take at most 256 MB. With bf16 activations q and the probabilities are bf16 operands.
void attention_products(const device::Context& context, const AttentionArgs& args);

}  // namespace qsweep::kernels::cuda
