// Weight rows are dequantized a tile at a time and multiplied by SGEMM on one thread, a block of x
// rows at a time; threads share the (tile, block) pairs.
#include <omp.h>

#include <algorithm>

#include "device/buffer.hpp"
#include "kernels/blas.hpp"
#include "kernels/common.hpp"
#include "kernels/linear/strategies.hpp"

namespace qsweep::kernels {
namespace {

// SGEMM packs its x block anew for each tile, work of about 1 / (2 tile) of the product's, and more
// where x no longer fits the cache: against one SGEMM of [2048, 2048] weights and 2048 rows a tile
// of 64 reaches 0.65, of 256 0.85. Few x rows want small tiles less than they want one for every
// thread; narrow layers want eight tiles in any case.
int64_t tile_rows(int64_t x_rows, int64_t out) {
  const int64_t wanted = x_rows >= 512 ? 256 : x_rows >= 128 ? 128 : 64;
  return std::clamp<int64_t>(tiles(out, 8 * 32) * 32, 32, wanted);
}

// Long enough that dequantizing a tile again on another thread costs little (5 % of the product).
constexpr int64_t x_block = 1024;

// Columns [begin, end) of y for all x rows of `args`, from those dequantized weight rows.
void multiply(const device::Context& context, const LinearArgs& args, int64_t begin, int64_t end,
              const float* weights) {
  const auto cols = static_cast<blasint>(args.weight->cols);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(args.rows),
              static_cast<blasint>(end - begin), cols, 1.0f, args.x, static_cast<blasint>(args.ldx),
              weights, cols, 0.0f, args.y + begin, static_cast<blasint>(args.ldy));
  finish_outputs(context, args, begin, end);
}

LinearArgs block_of(const LinearArgs& args, int64_t block) {
  LinearArgs part = args;
  part.x += block * x_block * args.ldx;
  part.y += block * x_block * args.ldy;
  part.rows = std::min(x_block, args.rows - block * x_block);
  return part;
}

}  // namespace

void gemm_dequantized_tiles(const device::Context& context, const LinearArgs& args) {
  single_threaded_blas();
  count_linear(context, args);
  const quant::PackedMatrix& w = *args.weight;
  const int64_t tile = tile_rows(args.rows, w.rows), blocks = tiles(args.rows, x_block);
  const int64_t all = tiles(w.rows, tile) * blocks;
  const int threads = static_cast<int>(std::clamp<int64_t>(context.threads, 1, all));
  const int64_t tile_floats = tile * w.cols;
  device::Buffer dequantized(static_cast<size_t>(threads * tile_floats) * sizeof(float),
                             device::MemoryClass::workspace);
#pragma omp parallel num_threads(threads)
  {
    float* mine = dequantized.as<float>() + omp_get_thread_num() * tile_floats;
    int64_t held = -1;  // the tile that `mine` holds: blocks of one tile follow each other
#pragma omp for schedule(static)
    for (int64_t i = 0; i < all; ++i) {
      const int64_t t = i / blocks, begin = t * tile, end = std::min(begin + tile, w.rows);
      if (t != held) quant::dequantize_rows(w, begin, end - begin, mine);
      held = t;
      multiply(context, block_of(args, i % blocks), begin, end, mine);
    }
  }
}

}  // namespace qsweep::kernels
