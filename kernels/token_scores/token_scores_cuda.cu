// A block for each row.
#include "kernels/common.hpp"
#include "kernels/cuda/argmax.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/token_scores/token_scores.hpp"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 512;

struct Scratch {
  float largest[threads / warp_size];
  double sum[threads / warp_size];
  Best best[threads / warp_size];
};

// x [n] to log-probabilities in place.
__device__ void log_softmax_row(float* x, int64_t n, Scratch& scratch) {
  float largest = -INFINITY;
  for (int64_t i = threadIdx.x; i < n; i += threads) largest = fmaxf(largest, x[i]);
  largest = over_block(largest, scratch.largest, Larger{});
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += threads)
    sum += static_cast<double>(expf(x[i] - largest));
  sum = over_block(sum, scratch.sum, Add{});
  const double offset = static_cast<double>(largest) + log(sum);
  for (int64_t i = threadIdx.x; i < n; i += threads) {
    x[i] = static_cast<float>(static_cast<double>(x[i]) - offset);
  }
  __syncthreads();
}

__global__ void row(TokenScoresArgs args) {
  __shared__ Scratch scratch;
  wait_for_previous();
  let_next_start();
  const int64_t r = blockIdx.x, n = args.vocab;
  float* q = args.logits + r * n;
  log_softmax_row(q, n, scratch);
  if (threadIdx.x == 0) args.nll[r] = -static_cast<double>(q[args.targets[r]]);
  if (args.reference == nullptr) return;
  float* p = args.reference + r * n;
  log_softmax_row(p, n, scratch);
  double kl = 0;
  for (int64_t i = threadIdx.x; i < n; i += threads) {
    kl += static_cast<double>(expf(p[i])) * (static_cast<double>(p[i]) - static_cast<double>(q[i]));
  }
  kl = over_block(kl, scratch.sum, Add{});
  const int32_t of_p = argmax_of(p, n, scratch.best), of_q = argmax_of(q, n, scratch.best);
  if (threadIdx.x != 0) return;
  args.kl[r] = kl;
  args.agreement[r] = of_p == of_q ? 1 : 0;
}

}  // namespace

void token_scores(const device::Context& context, const TokenScoresArgs& args) {
  count(context, "token_scores/row");
  if (args.rows == 0) return;
  launch(context, row, {blocks_for(args.rows, 1), dim3(threads)}, args);
}

}  // namespace qsweep::kernels::cuda
