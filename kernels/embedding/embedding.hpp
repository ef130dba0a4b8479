// Embedding: y[t, :] = W[token[t], :].
//   W [vocab, hidden] packed; token [rows], each in [0, vocab) (the caller checks); y [rows,
//   hidden] fp32.
// Exact in fp32: a decoded bf16, fp16 or fp32 value is copied. Bytes: rows * hidden * (element +
// 4). FLOPs: none.
#pragma once

#include <cstdint>

#include "device/context.hpp"
#include "quant/format/format.hpp"

namespace qsweep::kernels {

struct EmbeddingArgs {
  const quant::PackedMatrix* weight;
  const int32_t* tokens;  // [rows]
  int64_t rows;
  float* y;  // [rows, hidden]
};

void embedding(const device::Context& context, const EmbeddingArgs& args);

namespace cuda {
void embedding(const device::Context& context, const EmbeddingArgs& args);
}
namespace ref {
void embedding(const EmbeddingArgs& args);
}

}  // namespace qsweep::kernels
