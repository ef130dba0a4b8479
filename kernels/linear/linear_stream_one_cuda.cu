// Which linears of one row the kernel of stream_one_kernel.cuh takes, and how it is started.
#include <algorithm>
#include <bit>

#include "kernels/linear/linear_cuda.cuh"
#include "kernels/linear/stream_one_kernel.cuh"
#include "kernels/linear/stream_plan.cuh"

namespace qsweep::kernels::cuda {
namespace {

using quant::FormatSpec;

// Stages of about so many bytes at most, where rows can be cut accordingly: many small ones are
// full early, few large ones cost fewer instructions.
constexpr int64_t usual_stage = 25 << 10;
// What a multiprocessor asks memory for at once: enough to keep it busy; more would only wait in
// queues, and everything else behind it (kernels/README.md has the times).
constexpr int64_t bytes_under_way = 50 << 10;
// A lane of a copying warp has one copy of a pass, of which the longest has 8 rows of 16-bit
// elements; with a gate half of the lanes have half of it.
static_assert(most_vectors * vector_cols * 2 * 8 <= warp_size * copy_bytes);

template <class F>
concept OneRowStreamable = !F::flattened && Streamable<F>;

int64_t columns_of_slab(const FormatSpec& spec) {
  return int64_t{slab_bytes} * 8 / quant::code_bits(spec.id);
}

int log2_of(int64_t power) {
  return std::countr_zero(static_cast<uint64_t>(power));
}

OneRow describe(const Stream& stream, const FormatSpec& spec, bool grouped) {
  OneRow p{};
  for (int k = 0; k < stream.segment_count; ++k) {
    const Segment& s = stream.segments[k];
    p.segments[k] = {s.w.codes, static_cast<int>(s.first), static_cast<int>(s.rows),
                     static_cast<int>(s.column)};
    p.scales[k] = s.w.scale.data;
    p.bias[k] = s.bias;
  }
  const PackedView& w = stream.segments[0].w;
  p.x = stream.x;
  p.norm_weight = stream.norm_weight;
  p.norm_eps = stream.norm_eps;
  p.y = stream.y;
  p.segment_count = static_cast<uint8_t>(stream.segment_count);
  p.outputs = stream.outputs;
  p.cols = stream.cols;
  p.inverse_cols = 1.0f / static_cast<float>(stream.cols);
  p.line_bytes = static_cast<int>(int64_t{stream.cols} * quant::code_bits(spec.id) / 8);
  p.finish = stream.finish;
  p.codec = w.scale.id;
  p.scale_bits = w.scale.width;
  p.mantissa_bits = w.scale.mantissa_bits;
  p.groups = w.groups.shared ? 0 : static_cast<int>(w.groups.per_line);
  p.share = stream.share;
  p.larger_shares = static_cast<uint16_t>(stream.larger_shares);
  if (grouped) {
    p.slabs_a_group = SmallDivisor::of(static_cast<uint32_t>(spec.group / columns_of_slab(spec)));
  }
  return p;
}

// How many rows make a pass. Integers have columns for the digits of two phases.
bool choose_pass(OneRow& p, bool integers) {
  const int64_t slabs = p.line_bytes / slab_bytes;
  int pass_log2 = 0;
  for (const int rows : {8, 4, 2}) {
    if (slabs % (pass_rows / rows) != 0 || (integers && rows != 8)) continue;
    pass_log2 = log2_of(rows);
    if (int64_t{rows} * p.line_bytes <= usual_stage) break;
  }
  p.pass_log2 = static_cast<uint8_t>(pass_log2);
  p.phases_log2 = log2_of(pass_rows) - pass_log2;
  return pass_log2 > 0;
}

// Of a block: at most.
int64_t outputs_of(const OneRow& p) {
  return p.share + (p.larger_shares > 0 ? 1 : 0);
}
int64_t passes_of(const OneRow& p) {
  return tiles(outputs_of(p), int64_t{1} << p.outputs_of_pass_log2());
}

// Roughly how long a block takes with so many warps to a stage, in cycles: until the last stage has
// come and is multiplied, or until all are multiplied that had come before the input was there; and
// then as long as there are partial sums to add. With fewer warps to a stage others take the next
// ones meanwhile, with more the last one is done sooner. The constants are fitted to an H200, where
// two, four and eight warps were tried for the linears of two models.
int64_t cycles_of(const OneRow& p, bool grouped) {
  constexpr int64_t bytes_a_cycle = 19, stage_cycles = 700, line_cycles = 80;
  const int64_t step_cycles = grouped ? 90 : 45, input_cycles = 2000 + p.cols * 3 / 4;
  const int64_t bytes = int64_t{p.line_bytes} << p.pass_log2, passes = passes_of(p);
  const int64_t steps = tiles(bytes / (pass_rows * slab_bytes), int64_t{1} << p.sharers_log2);
  const int64_t stage = steps * step_cycles + stage_cycles;
  const int64_t all_there = passes * (bytes / bytes_a_cycle) + stage;
  const int64_t rounds = tiles(passes, one_multipliers >> p.sharers_log2);
  const int64_t sums = int64_t{p.gated() ? 2 : 1} << p.phases_log2 << p.sharers_log2;
  return std::max(all_there, input_cycles + rounds * stage) + tiles(sums, 4) * line_cycles;
}

// Divides shared memory up to where the ring begins.
void divide_memory(OneRow& p, bool grouped, int64_t staged_bytes) {
  const int64_t passes = passes_of(p);
  p.together =
      static_cast<int>(std::min<int64_t>(passes, most_outputs >> p.outputs_of_pass_log2()));
  const int64_t line = int64_t{4} * pass_rows << p.sharers_log2;
  p.lines = one_barriers_bytes;
  p.staged = p.lines + static_cast<int>(line * p.together * (passes > p.together ? 2 : 1));
  p.staged = (p.staged + 127) / 128 * 128;
  p.raw = p.staged + static_cast<int>(staged_bytes);
  if (grouped) {
    p.raw_half = raw_bytes(static_cast<int>(outputs_of(p)), p.groups * p.scale_bits);
  }
  p.ring = (p.raw + p.raw_half * (p.gated() ? 2 : 1) + 127) / 128 * 128;
}

// As many stages as there is room for, and how many of them are under way; the bytes of shared
// memory in all, or 0 where even two stages would not fit.
int64_t choose_stages(OneRow& p, bool grouped) {
  const int64_t passes = passes_of(p), slabs = p.line_bytes / slab_bytes;
  p.stage_bytes = (p.line_bytes + (grouped ? static_cast<int>(slabs) * 4 : 0)) << p.pass_log2;
  const int64_t room = (all_memory - p.ring) / p.stage_bytes;
  int64_t stages = std::min({room, passes, int64_t{most_stages}});
  // Each slot is to be emptied by the same group always, and filled by the same warp.
  const int owners = std::max(one_multipliers >> p.sharers_log2, one_copiers);
  if (stages < passes) stages = stages / owners * owners;
  if (stages < std::min<int64_t>(passes, 2)) return 0;
  // Where slots are filled again, a copying warp must have seen a stage full before its slot can be
  // full again, or it would wait in vain. If the stage is its own it fills the slot itself, later:
  // always so with two stages under way, one of each warp. If not, the other warp must see one of
  // its stages full first that it has yet to ask for, where half of the slots at most are under
  // way.
  const int64_t ahead = (bytes_under_way + p.stage_bytes / 2) / p.stage_bytes;
  const int64_t most = stages < passes ? stages / 2 : stages;
  p.ahead = static_cast<uint8_t>(std::max<int64_t>(std::min(ahead, most), one_copiers));
  p.stages = static_cast<uint8_t>(stages);
  return p.ring + stages * p.stage_bytes;
}

// The quickest division of the warps and of shared memory; the bytes of that, or 0 where there is
// none. Fewer than two warps to a stage would leave less than a vector of four sums for each row.
int64_t divide(OneRow& p, bool grouped, int64_t staged_bytes) {
  // What a block could hold of scales, were that all.
  if (outputs_of(p) * p.groups * p.scale_bits > 8 * all_memory) return 0;
  OneRow best{};
  int64_t bytes = 0, least = INT64_MAX;
  for (int sharers = one_multipliers; sharers > 1; sharers /= 2) {
    p.sharers_log2 = log2_of(sharers);
    divide_memory(p, grouped, staged_bytes);
    const int64_t wanted = choose_stages(p, grouped), cycles = cycles_of(p, grouped);
    if (wanted == 0 || cycles >= least) continue;
    best = p;
    bytes = wanted;
    least = cycles;
  }
  p = best;
  return bytes;
}

template <class F, bool Grouped>
bool start(const device::Context& context, const Stream& stream, const FormatSpec& spec) {
  OneRow p = describe(stream, spec, Grouped);
  if (!choose_pass(p, IntegerCodes<F>::any)) return false;
  const int64_t bytes = divide(p, Grouped, staged_row_bytes<F>(p.cols));
  if (bytes == 0) return false;
  const Grid grid{dim3(static_cast<unsigned>(blocks_of(stream))), dim3(one_threads(Grouped)),
                  static_cast<size_t>(bytes)};
  // Code for longer rows than these would only be in the way.
  if (p.cols <= 2 * vector_cols) {
    launch(context, stream_one<F, Grouped, 2>, grid, p);
  } else {
    launch(context, stream_one<F, Grouped, most_vectors>, grid, p);
  }
  return true;
}

bool start_one_row(const device::Context& context, const Stream& stream, const FormatSpec& spec) {
  const int64_t cols = stream.cols, slab = columns_of_slab(spec);
  if (cols > most_vectors * vector_cols || cols % slab != 0) return false;
  if (stream.levels.on || stream.segments[0].w.asymmetric) return false;
  if (quant::has_scales(spec.id) && spec.scale.id == ScaleCodecId::dq8) return false;
  const bool grouped = grouped_along(spec, cols);
  if (grouped && (spec.group % slab != 0 || cols % spec.group != 0)) return false;
  return format::visit_format(spec.id, [&](auto f) {
    using F = decltype(f);
    if constexpr (!OneRowStreamable<F>) {
      return false;
    } else {
      if constexpr (F::scaled) {
        if (grouped) return start<F, true>(context, stream, spec);
      }
      return start<F, false>(context, stream, spec);
    }
  });
}

}  // namespace

bool stream_one_linears(const device::Context& context, const LinearsArgs& args) {
  if (args.rows != 1) return false;
  const auto planned = plan_stream(context, args);
  if (!planned || !start_one_row(context, *planned, args.parts.front().weight->spec)) return false;
  count_stream(context, "stream_one", args, *planned);
  return true;
}

}  // namespace qsweep::kernels::cuda
