// Which linears the one-pass kernel takes, and how it is started.
#include <algorithm>

#include "device/gpu.hpp"
#include "kernels/linear/linear_cuda.cuh"
#include "kernels/linear/stream_kernel.cuh"

namespace qsweep::kernels::cuda {
namespace {

using quant::FormatId;
using quant::FormatSpec;

// Dynamic shared memory: two blocks must fit in a multiprocessor's 227 KB beside 10 KB of their own
// up to 8 rows; with more rows one block may have it alone.
constexpr int64_t most_input_bytes = int64_t{200} << 10;

template <class F>
concept Streamable = requires {
  Codes<F>::parts;
};

// Words of a lane's chunk: as long as four chunks of a quad lie in one group, at most 16 bytes.
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

bool suits(const device::Context& context, const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  if (context.compute != device::Compute::bf16 || args.rows > stream_rows) return false;
  const auto aligned = [](const float* from) {
    return reinterpret_cast<uintptr_t>(from) % 16 == 0;
  };
  if (!aligned(args.x) || !aligned(args.norm_weight) || first.cols % 8 != 0) return false;
  constexpr int64_t most_cols = 1 << 20, most_rows = 1 << 24;  // inside an int
  if (first.cols > most_cols || first.rows > most_rows) return false;
  const int64_t input_bytes = args.rows * padded_columns(static_cast<int>(first.cols)) * 2;
  if (input_bytes > most_input_bytes) return false;
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
  p.finish = args.finish;
  p.y = args.y;
  int64_t out = 0;
  for (const LinearPart& part : args.parts) {
    const int64_t rows = part.weight->rows;
    p.segments[p.segment_count++] = {view_of(*part.weight), part.bias, 0, rows, out};
    p.units += static_cast<int>(tiles(rows, tile_rows));
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
    p.units = static_cast<int>(tiles(out / 2, tile_rows));
    p.ldy = out / 2;
  }
  return p;
}

template <class F, int Words, bool Grouped>
void start(const device::Context& context, Stream p) {
  p.slabs_a_warp =
      static_cast<int>(tiles(p.cols / StreamKernel<F, Words, Grouped>::slab, stream_warps));
  if constexpr (Grouped) {
    p.slabs_a_group =
        static_cast<int>(p.segments[0].w.groups.size / StreamKernel<F, Words, Grouped>::slab);
  }
  const auto shared = static_cast<size_t>(p.rows * padded_columns(p.cols) * 2);
  // Two blocks a multiprocessor keep enough loads in flight, and leave room for the next kernel's.
  const int blocks = std::min(p.units, 2 * device::gpu_info().multiprocessors);
  launch(context, stream<F, Words, Grouped>,
         {dim3(static_cast<unsigned>(blocks)), dim3(stream_threads), shared}, p);
}

template <class F, bool Grouped>
void start_words(const device::Context& context, int words, const Stream& p) {
  constexpr int least = Codes<F>::words_a_unit;
  if (words == 4) return start<F, 4, Grouped>(context, p);
  if (words == 2) return start<F, 2, Grouped>(context, p);
  if constexpr (least == 1) start<F, 1, Grouped>(context, p);
}

}  // namespace

bool stream_linears(const device::Context& context, const LinearsArgs& args) {
  if (!suits(context, args)) return false;
  const FormatSpec& spec = args.parts.front().weight->spec;
  const int64_t cols = args.parts.front().weight->cols;
  const int words = chunk_words(spec, cols);
  // nf4's blocks run on from row to row; they keep to rows where rows are whole blocks.
  const bool grouped = spec.group > 0 && spec.group < cols;
  return format::visit_format(spec.id, [&](auto f) {
    using F = decltype(f);
    if constexpr (!Streamable<F>) {
      return false;
    } else {
      if (words < Codes<F>::words_a_unit) return false;
      if (F::flattened && (!grouped || cols % spec.group != 0)) return false;
      const Stream p = describe(args);
      if constexpr (F::scaled) {
        if (grouped) start_words<F, true>(context, words, p);
      }
      if constexpr (!F::flattened) {
        if (!F::scaled || !grouped) start_words<F, false>(context, words, p);
      }
      for (const LinearPart& part : args.parts) {
        count_strategy(context, "stream", *part.weight, part.calls);
      }
      return true;
    }
  });
}

}  // namespace qsweep::kernels::cuda
