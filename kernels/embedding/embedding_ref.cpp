#include <algorithm>
#include <vector>

#include "kernels/embedding/embedding.hpp"

namespace qsweep::kernels::ref {

void embedding(const EmbeddingArgs& args) {
  const quant::PackedMatrix& w = *args.weight;
  std::vector<float> all(static_cast<size_t>(w.rows * w.cols));
  quant::dequantize_rows(w, 0, w.rows, all.data());
  for (int64_t t = 0; t < args.rows; ++t) {
    std::copy_n(all.data() + args.tokens[t] * w.cols, w.cols, args.y + t * w.cols);
  }
}

}  // namespace qsweep::kernels::ref
