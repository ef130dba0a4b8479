// Weight rows are dequantized a tile at a time and multiplied by SGEMM on one thread; threads share
// the tiles.
#include <omp.h>

#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/blas.hpp"
#include "kernels/common.hpp"
#include "kernels/linear/strategies.hpp"

namespace qsweep::kernels {
namespace {

// SGEMM packs x anew for each tile, about 1 / (2 tile) of the work: 64 rows keep that near 1 % and
// a tile of 8192 columns in 2 MB. Small layers take half of it, so that there are tiles for every
// thread.
constexpr int64_t large_tile = 64, small_tile = 32, small_layer = 2048;

}  // namespace

void gemm_dequantized_tiles(const device::Context& context, const LinearArgs& args) {
  single_threaded_blas();
  count_linear(context, args);
  const quant::PackedMatrix& w = *args.weight;
  const int64_t tile = w.rows >= small_layer ? large_tile : small_tile;
  const int64_t all = tiles(w.rows, tile);
  const int threads = static_cast<int>(std::clamp<int64_t>(context.threads, 1, all));
  const int64_t tile_floats = tile * w.cols;
  device::Buffer dequantized(static_cast<size_t>(threads * tile_floats) * sizeof(float),
                             device::MemoryClass::workspace);
#pragma omp parallel num_threads(threads)
  {
    float* mine = dequantized.as<float>() + omp_get_thread_num() * tile_floats;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < all; ++t) {
      const int64_t begin = t * tile, end = std::min(begin + tile, w.rows);
      quant::dequantize_rows(w, begin, end - begin, mine);
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(args.rows),
                  static_cast<blasint>(end - begin), static_cast<blasint>(w.cols), 1.0f, args.x,
                  static_cast<blasint>(args.ldx), mine, static_cast<blasint>(w.cols), 0.0f,
                  args.y + begin, static_cast<blasint>(args.ldy));
      finish_outputs(context, args, begin, end);
    }
  }
}

}  // namespace qsweep::kernels
