#include "kernels/token_scores/token_scores.hpp"

#include <cmath>
#include <span>

#include "kernels/common.hpp"
#include "kernels/logits/logits.hpp"

namespace qsweep::kernels {
namespace {

// KL(p || q) = sum p (log p - log q). Probabilities in fp32 (relative error 1e-7 of each term), the
// sum in double.
double kl_divergence(std::span<const float> log_p, std::span<const float> log_q) {
  double sum = 0;
  for (size_t i = 0; i < log_p.size(); ++i) {
    sum += static_cast<double>(std::exp(log_p[i])) * (static_cast<double>(log_p[i]) - log_q[i]);
  }
  return sum;
}

}  // namespace

void token_scores(const device::Context& context, const TokenScoresArgs& args) {
  if (on_gpu(context)) return cuda::token_scores(context, args);
  count(context, "token_scores/row");
  for (int64_t r = 0; r < args.rows; ++r) {
    const std::span<float> q(args.logits + r * args.vocab, static_cast<size_t>(args.vocab));
    log_softmax(q, q);
    args.nll[r] = -static_cast<double>(q[static_cast<size_t>(args.targets[r])]);
    if (args.reference == nullptr) continue;
    const std::span<float> p(args.reference + r * args.vocab, static_cast<size_t>(args.vocab));
    log_softmax(p, p);
    args.kl[r] = kl_divergence(p, q);
    args.agreement[r] = argmax(p) == argmax(q) ? 1 : 0;
  }
}

}  // namespace qsweep::kernels
