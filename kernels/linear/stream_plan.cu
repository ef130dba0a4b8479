#include "kernels/linear/stream_plan.cuh"

#include <algorithm>
#include <bit>

#include "device/gpu.hpp"
#include "kernels/common.hpp"
#include "kernels/linear/linear_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

using quant::FormatSpec;

// A feeder may not be two rounds of the ring ahead of who empties it.
constexpr int least_stages = feeders, enough_stages = 6;

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
  return side_by_side(args);
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
  p.ldy = place_segments(args, p.segments, p.segment_count);
  p.outputs = static_cast<int>(p.ldy);
  p.share = p.outputs / blocks_of(p);
  p.larger_shares = p.outputs % blocks_of(p);
  return p;
}

int longest_divisor(int n, int most) {
  int best = 1;
  for (int d = 1; d <= std::min(n, most); ++d) {
    if (n % d == 0) best = d;
  }
  return best;
}

// Stages of the present pieces that fit beside the input and the sums.
StreamMemory stages_beside(const Stream& p, const Beside& beside) {
  const StageLayout layout(p.slabs_a_piece * beside.slab_bytes, p.slabs_a_piece, beside.grouped,
                           beside.zeroed);
  const int64_t room = all_memory - barriers_bytes(most_stages) -
                       lines_bytes(p.rows, p.contributors) -
                       int64_t{p.rows} * staged_bytes(p.cols) - beside.slab_sums_bytes;
  const int64_t stages = std::min<int64_t>(room / layout.bytes, most_stages);
  return {static_cast<int>(stages), layout.bytes, beside.slab_sums_bytes};
}

// Stages are emptied out of order where several groups of warps have some to themselves, and
// barriers tell only neighbouring laps apart. Two laps are safe, as those who multiply wait for the
// lap before too; with more of them each slot must always be filled by one feeder and emptied by
// one group.
int usable_stages(int stages, int groups, int64_t needed) {
  if (groups == 1 || needed <= int64_t{2} * stages) return stages;
  const int period = std::max(groups, feeders);
  return stages / period * period;
}

// Roughly what a multiprocessor needs for a few passes: the instructions, and what it loses where
// the ring holds less than what could be read before the input is there. Bytes count twice what
// they take to read. That is a guess: it keeps all warps on each stage where there is much to read
// for each instruction (bf16 of 3072 columns), and gives them stages of their own where there is
// not (8192 columns, which gained a tenth).
int64_t cycles_of(const Stream& p, const Beside& beside, int bits, int64_t passes, int stages) {
  // Instructions of a warp for a slab and for a stage, as the compiler made them.
  const int64_t slab_cost = bits == 16 ? 25 : 70, stage_cost = 70;
  constexpr int64_t schedulers = 4, bytes_a_cycle = 10, ahead = 200 << 10;
  const int64_t together = std::min<int64_t>(passes_together(p.rows), passes);
  const int sharers = 1 << p.sharers_log2, groups = multipliers / sharers;
  const int64_t instructions = tiles(together * p.pieces, groups) *
                               (tiles(p.slabs_a_piece, sharers) * slab_cost + stage_cost);
  const int64_t stage = int64_t{pass_rows} * p.slabs_a_piece * beside.slab_bytes;
  const int64_t wanted = std::min(passes * p.pieces * stage, ahead);
  return instructions * (multipliers / schedulers) +
         std::max<int64_t>(wanted - stages * stage, 0) / bytes_a_cycle;
}

}  // namespace

bool side_by_side(const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  if (args.parts.size() > static_cast<size_t>(most_segments)) return false;
  for (const LinearPart& part : args.parts) {
    if (!(part.weight->spec == first.spec) || part.weight->cols != first.cols) return false;
  }
  if (args.finish != Finish::gate) return true;
  if (args.parts.size() == 1) return first.rows % 2 == 0;
  return args.parts.size() == 2 && args.parts[1].weight->rows == first.rows;
}

int64_t place_segments(const LinearsArgs& args, Segment (&segments)[most_segments], int& count) {
  int64_t out = 0;
  for (const LinearPart& part : args.parts) {
    const int64_t rows = part.weight->rows;
    segments[count++] = {view_of(*part.weight), part.bias, 0, rows, out};
    out += rows;
  }
  if (args.finish != Finish::gate) return out;
  if (count == 1) {
    segments[0].rows = out / 2;
    segments[1] = segments[0];
    segments[1].first = out / 2;
    count = 2;
  }
  return out / 2;
}

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

int blocks_of(const Stream& p) {
  return std::min(p.outputs, device::gpu_info().multiprocessors);
}

std::optional<Stream> plan_stream(const device::Context& context, const LinearsArgs& args) {
  if (!suits(context, args)) return std::nullopt;
  return describe(args);
}

std::optional<StreamMemory> cut_rows(Stream& p, const Beside& beside, int bits) {
  const int a_pass = p.finish == Finish::gate ? pass_rows / 2 : pass_rows;
  const int64_t passes = tiles(tiles(p.outputs, blocks_of(p)), a_pass);
  constexpr int all_log2 = std::countr_zero(static_cast<unsigned>(multipliers));
  p.sharers_log2 = all_log2;
  p.contributors = multipliers;
  StreamMemory chosen{};
  for (const int longest : {2048, 1024, 512}) {
    p.slabs_a_piece = longest_divisor(beside.slabs, longest / beside.slab_bytes);
    p.pieces = beside.slabs / p.slabs_a_piece;
    chosen = stages_beside(p, beside);
    const int64_t enough = std::min<int64_t>(enough_stages, passes * p.pieces);
    if (chosen.stages >= std::max<int64_t>(enough, least_stages)) break;
  }
  if (chosen.stages < least_stages) return std::nullopt;
  Stream best = p;
  int64_t least = cycles_of(p, beside, bits, passes, chosen.stages);
  for (p.sharers_log2 = 0; p.sharers_log2 < all_log2; ++p.sharers_log2) {
    const int groups = multipliers >> p.sharers_log2;
    // Where each group has as many pieces of a pass, it adds them up itself.
    p.contributors = p.pieces % groups == 0 ? multipliers : p.pieces << p.sharers_log2;
    if (p.contributors > multipliers) continue;
    StreamMemory sizes = stages_beside(p, beside);
    if (groups > sizes.stages) continue;
    sizes.stages = usable_stages(sizes.stages, groups, passes * p.pieces);
    const int64_t cycles = cycles_of(p, beside, bits, passes, sizes.stages);
    if (sizes.stages < least_stages || cycles >= least) continue;
    least = cycles;
    chosen = sizes;
    best = p;
  }
  p = best;
  return chosen;
}

void count_stream(const device::Context& context, const char* strategy, const LinearsArgs& args,
                  const Stream& p) {
  for (const LinearPart& part : args.parts) {
    count_strategy(context, strategy, *part.weight, part.calls);
    if (p.levels.on) count_activations(context, strategy, args.activations.format, part.calls);
  }
}

}  // namespace qsweep::kernels::cuda
