#include "kernels/linear/stream_plan.cuh"

#include <algorithm>
#include <bit>

#include "kernels/common.hpp"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

using quant::FormatSpec;

bool suits(const device::Context& context, const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  const int64_t most = quant::has_scales(first.spec.id) ? stream_rows : plain_stream_rows;
  if (context.compute != device::Compute::bf16 || args.rows > most) return false;
  const auto aligned = [](const float* from) {
    return reinterpret_cast<uintptr_t>(from) % 16 == 0;
  };
  if (!aligned(args.x) || !aligned(args.norm_weight) || first.cols % 8 != 0) return false;
  constexpr int64_t most_rows = 1 << 24, most_cols = 1 << 20;  // inside an int
  if (first.cols > most_cols || first.rows > most_rows) return false;
  // Bulk copies move multiples of 16 bytes.
  if (first.cols * quant::code_bits(first.spec.id) % 128 != 0) return false;
  if (chunk_words(first.spec, first.cols) == 0) return false;
  if (args.parts.size() > static_cast<size_t>(most_segments)) return false;
  for (const LinearPart& part : args.parts) {
    if (!(part.weight->spec == first.spec) || part.weight->cols != first.cols) return false;
  }
  if (args.finish != Finish::gate) return true;
  // Gate and up: one matrix with both, or two alike.
  if (args.parts.size() == 1) return first.rows % 2 == 0;
  return args.parts.size() == 2 && args.parts[1].weight->rows == first.rows;
}

Stream describe(const LinearsArgs& args) {
  Stream p{};
  p.x = args.x;
  p.rows = static_cast<int>(args.rows);
  p.cols = static_cast<int>(args.parts.front().weight->cols);
  p.norm_weight = args.norm_weight;
  p.norm_eps = static_cast<float>(args.norm_eps);
  p.levels = levels_of(args.activations);
  p.finish = args.finish;
  p.y = args.y;
  int64_t out = 0;
  for (const LinearPart& part : args.parts) {
    const int64_t rows = part.weight->rows;
    p.segments[p.segment_count++] = {view_of(*part.weight), part.bias, 0, rows, out};
    out += rows;
  }
  p.ldy = out;
  if (args.finish == Finish::gate) {
    if (p.segment_count == 1) {  // the halves of one matrix
      p.segments[0].rows = out / 2;
      p.segments[1] = p.segments[0];
      p.segments[1].first = out / 2;
      p.segment_count = 2;
    }
    p.ldy = out / 2;
  }
  p.outputs = static_cast<int>(p.ldy);
  return p;
}

}  // namespace

int chunk_words(const FormatSpec& spec, int64_t cols) {
  const int64_t bits = quant::code_bits(spec.id);
  for (const int words : {4, 2, 1}) {
    const int64_t slab = int64_t{4} * words * 32 / bits;
    const bool one_scale = !quant::has_scales(spec.id) || spec.group <= 0 || spec.group >= cols ||
                           spec.group % slab == 0;
    if (cols % slab == 0 && one_scale) return words;
  }
  return 0;
}

std::optional<Stream> plan_stream(const device::Context& context, const LinearsArgs& args) {
  if (!suits(context, args)) return std::nullopt;
  return describe(args);
}

// Cuts a row of `slabs` slabs into pieces of at most `longest` bytes.
void cut_rows(Stream& p, int slabs, int slab_bytes, int longest) {
  int best = 1;
  for (int n = 1; n <= std::min(slabs, longest / slab_bytes); ++n) {
    if (slabs % n == 0) best = n;
  }
  p.slabs_a_piece = best;
  p.pieces = slabs / best;
}

void share_stages(Stream& p, int bits, int blocks, const std::function<int(int)>& stages) {
  // Instructions of a warp for a slab and for a stage, as the compiler made them for int4.
  constexpr int64_t slab_cost = 70, stage_cost = 70;
  constexpr int all_log2 = std::countr_zero(static_cast<unsigned>(multipliers));
  p.sharers_log2 = all_log2;
  p.contributors = multipliers;
  if (bits > 4) return;
  const int a_pass = p.finish == Finish::gate ? pass_rows / 2 : pass_rows;
  const int64_t passes = tiles(tiles(p.outputs, blocks), a_pass);
  const int64_t together = std::min<int64_t>(passes_together(p.rows), passes);
  int64_t best = together * p.pieces * (p.slabs_a_piece * slab_cost / multipliers + stage_cost);
  for (int log2 = 0; log2 < all_log2; ++log2) {
    const int sharers = 1 << log2, groups = multipliers / sharers;
    if (p.pieces * sharers > multipliers || groups > stages(p.pieces * sharers)) continue;
    const int64_t cost = tiles(together * p.pieces, groups) *
                         (tiles(p.slabs_a_piece, sharers) * slab_cost + stage_cost);
    if (cost >= best) continue;
    best = cost;
    p.sharers_log2 = log2;
    p.contributors = p.pieces * sharers;
  }
}

}  // namespace qsweep::kernels::cuda
