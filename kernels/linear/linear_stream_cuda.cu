// Which linears the one-pass kernel takes, and how it is started.
#include "kernels/linear/linear_cuda.cuh"
#include "kernels/linear/stream_kernel.cuh"
#include "kernels/linear/stream_plan.cuh"

namespace qsweep::kernels::cuda {
namespace {

using quant::FormatId;
using quant::FormatSpec;

template <class F, int Words, bool Grouped>
bool start(const device::Context& context, Stream p) {
  using Kernel = Multiplier<F, Words, Grouped, 1>;
  const int slab_columns = 4 * Kernel::elements, slabs = p.cols / slab_columns;
  if constexpr (Grouped) {
    const int64_t slabs_a_group = p.segments[0].w.groups.size / slab_columns;
    if (slabs_a_group * slabs >= SmallDivisor::end) return false;
    p.slabs_a_group = SmallDivisor::of(static_cast<uint32_t>(slabs_a_group));
  }
  const int tile_columns = p.rows <= 8 ? 8 : 16;
  const Beside beside{slabs, Kernel::slab_bytes, Codes<F>::offset ? slabs * tile_columns * 4 : 0,
                      Grouped, F::integer && p.segments[0].w.asymmetric};
  const auto planned = cut_rows(p, beside, F::bits);
  if (!planned) return false;
  const StreamMemory& sizes = *planned;
  const auto memory =
      static_cast<size_t>(barriers_bytes(sizes.stages) + lines_bytes(p.rows, p.contributors) +
                          int64_t{p.rows} * staged_bytes(p.cols) + sizes.slab_sums_bytes +
                          int64_t{sizes.stages} * sizes.stage_bytes);
  const Grid grid{dim3(static_cast<unsigned>(blocks_of(p))), dim3(stream_threads), memory};
  auto kernel = stream<F, Words, Grouped, 1, false>;
  if (p.one_short_row()) kernel = stream<F, Words, Grouped, 1, true>;
  if constexpr (F::scaled) {
    if (p.rows > 8) kernel = stream<F, Words, Grouped, 2, false>;
  }
  launch(context, kernel, grid, p, sizes);
  return true;
}

template <class F, bool Grouped>
bool start_words(const device::Context& context, int words, const Stream& p) {
  constexpr int least = Codes<F>::words_a_unit;
  if (words == 4) return start<F, 4, Grouped>(context, p);
  if (words == 2) return start<F, 2, Grouped>(context, p);
  if constexpr (least == 1) return start<F, 1, Grouped>(context, p);
  return false;
}

bool stream_rows_of(const device::Context& context, const Stream& p, const FormatSpec& spec) {
  const int64_t cols = p.cols;
  const int words = chunk_words(spec, cols);
  // nf4's blocks run on from row to row; they keep to rows where rows are whole blocks.
  const bool grouped = grouped_along(spec, cols);
  return format::visit_format(spec.id, [&](auto f) {
    using F = decltype(f);
    if constexpr (!Streamable<F>) {
      return false;
    } else {
      if (words < Codes<F>::words_a_unit) return false;
      if (F::flattened && (!grouped || cols % spec.group != 0)) return false;
      if constexpr (F::scaled) {
        if (grouped) return start_words<F, true>(context, words, p);
      }
      if constexpr (!F::flattened) {
        if (!F::scaled || !grouped) return start_words<F, false>(context, words, p);
      }
      return false;
    }
  });
}

}  // namespace

bool stream_linears(const device::Context& context, const LinearsArgs& args) {
  const auto planned = plan_stream(context, args);
  if (!planned) return false;
  if (!stream_rows_of(context, *planned, args.parts.front().weight->spec)) return false;
  count_stream(context, "stream", args, *planned);
  return true;
}

}  // namespace qsweep::kernels::cuda
