#include "kernels/common.hpp"
#include "kernels/embedding/embedding.hpp"

namespace qsweep::kernels {

void embedding(const device::Context& context, const EmbeddingArgs& args) {
  if (on_gpu(context)) return cuda::embedding(context, args);
  const OpTimer timer(context, "embedding");
  count(context, "embedding/gather");
  const int64_t hidden = args.weight->cols;
  for (int64_t t = 0; t < args.rows; ++t) {
    float* y = args.y + t * hidden;
    quant::dequantize_rows(*args.weight, args.tokens[t], 1, y);
    for (int64_t i = 0; i < hidden; ++i) y[i] = stored(context.compute, y[i]);
  }
}

}  // namespace qsweep::kernels
