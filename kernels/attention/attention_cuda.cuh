// The GPU strategy behind attention(); see attention.hpp. One row of a decoding step is attend/.
#pragma once

#include "kernels/attention/attention.hpp"

namespace qsweep::kernels::cuda {

// Q K^T by cuBLAS, softmax over each row, P V by cuBLAS; rows in chunks whose scores
// take at most 256 MB. With bf16 activations q and the probabilities are bf16 operands.
void attention_products(const device::Context& context, const AttentionArgs& args);

}  // namespace qsweep::kernels::cuda
