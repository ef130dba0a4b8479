// What perplexity reads off logits: with lq = log_softmax(logits), lp = log_softmax(reference),
//   nll[r] = -lq[r, target[r]],  kl[r] = sum_v exp(lp) (lp - lq),  agreement[r] = 1 where the
//   largest of both stands at the same index (the first of equals), else 0. logits, reference
//   [rows, vocab] fp32, both overwritten; reference may be null, then kl and agreement are not
//   written. target [rows], each in [0, vocab). All in the context's place.
// Log-probabilities are rounded to fp32; sums of exponentials and of kl in double. No matrix of
// probabilities is kept. Bytes: 8 rows vocab a matrix. |error| <= 2^-22 (|lq| + |x|) + vocab 2^-52.
#pragma once

#include <cstdint>

#include "device/context.hpp"

namespace qsweep::kernels {

struct TokenScoresArgs {
  float* logits;
  float* reference;  // or null
  const int32_t* targets;
  int64_t rows, vocab;
  double* nll;  // [rows]
  double* kl;
  double* agreement;
};

void token_scores(const device::Context& context, const TokenScoresArgs& args);

namespace cuda {
void token_scores(const device::Context& context, const TokenScoresArgs& args);
}

}  // namespace qsweep::kernels
