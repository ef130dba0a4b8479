// linears() of up to 128 rows on 4-bit weights: the input is laid out for the tensor cores, then
// weights are read packed and multiplied.
#include <algorithm>
#include <climits>
#include <map>
#include <mutex>
#include <tuple>

#include "device/buffer.hpp"
#include "device/gpu.hpp"
#include "kernels/common.hpp"
#include "kernels/linear/linear_cuda.cuh"
#include "kernels/linear/stream_plan.cuh"
#include "kernels/linear/tiles_input.cuh"
#include "kernels/linear/tiles_kernel.cuh"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;
using quant::FormatId;

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

bool suits(const device::Context& context, const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  if (context.compute != device::Compute::bf16) return false;
  if (args.rows < tiles_least_rows || args.rows > tiles_rows) return false;
  const auto aligned = [](const float* from) {
    return reinterpret_cast<uintptr_t>(from) % 16 == 0;
  };
  if (!aligned(args.x) || !aligned(args.norm_weight)) return false;
  if (quant::code_bits(first.spec.id) != 4 || chunk_words(first.spec, first.cols) < 2) return false;
  if (first.cols * 2 > most_row_bytes) return false;
  const bool grouped = grouped_along(first.spec, first.cols);
  if (first.spec.id == FormatId::nf4 && (!grouped || first.cols % first.spec.group != 0)) {
    return false;
  }
  if (!side_by_side(args)) return false;
  int64_t out = 0;
  for (const LinearPart& part : args.parts) out += part.weight->rows;
  // Places of scales are 32 bits.
  return out * first.cols <= int64_t{1} << 36;
}

void cut_into_tiles(Tiles& p) {
  if (p.gated()) {
    p.tiles = static_cast<int>(tiles(p.ldy, tile_rows / 2));
    return;
  }
  for (int k = 0; k < p.segment_count; ++k) {
    p.first_tile[k] = p.tiles;
    p.tiles += static_cast<int>(tiles(p.segments[k].rows, tile_rows));
  }
}

template <class F, int Words, int Columns>
Tiles plan(const LinearsArgs& args) {
  using Shape = TileShape<Words>;
  const quant::PackedMatrix& first = *args.parts.front().weight;
  Tiles p{};
  p.finish = args.finish;
  p.y = args.y;
  p.ldy = place_segments(args, p.segments, p.segment_count);
  cut_into_tiles(p);
  p.cols = static_cast<int>(first.cols);
  p.slabs = p.cols / Shape::slab_columns;
  p.slabs_a_step = Shape::slabs_a_step;
  p.steps = static_cast<int>(tiles(p.slabs, p.slabs_a_step));
  p.slabs_a_group = grouped_along(first.spec, first.cols)
                        ? static_cast<int>(first.spec.group / Shape::slab_columns)
                        : INT_MAX;
  if (first.spec.group != quant::per_tensor) {
    p.scales_a_row = static_cast<int>(tiles(p.slabs, p.slabs_a_group));
  }
  p.rows = static_cast<int>(args.rows);
  p.rows_a_part = Columns;
  p.input_bytes = Shape::input_bytes(p.rows_a_part);
  p.stage_bytes = Shape::bytes(p.rows_a_part);
  // An even number: a slot is always emptied by the same group, so that feeders, who tell only
  // neighbouring laps apart, know which lap it was; and no fewer than there are feeders.
  constexpr int64_t room =
      all_memory - barriers_bytes(most_stages) - TileTeam<Columns>::joined_bytes;
  constexpr int64_t stages = std::min<int64_t>(room / Shape::bytes(Columns), most_stages) / 2 * 2;
  static_assert(stages >= tile_feeders);
  p.stages = static_cast<int>(stages);
  return p;
}

// How many clusters of the kernel run at once. The driver takes a while to say; neither kernels nor
// their memory change.
int clusters_at_once(const void* kernel, const Grid& grid) {
  static std::mutex mutex;
  static std::map<std::tuple<const void*, size_t, unsigned>, int> known;
  const std::lock_guard lock(mutex);
  int& count = known[{kernel, grid.shared_bytes, grid.cluster}];
  if (count > 0) return count;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {1, grid.cluster, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1, grid.cluster);
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.attrs = &cluster;
  config.numAttrs = 1;
  device::cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(grid.shared_bytes)),
                     "asking for shared memory");
  device::cuda_check(cudaOccupancyMaxActiveClusters(&count, kernel, &config),
                     "asking how many clusters run at once");
  return count;
}

// As many blocks share the columns of a tile as run at once; no more than are needed for the number
// of steps that each then has.
constexpr int most_splits = 8;  // the largest portable cluster

template <class Team>
Grid choose_splits(Tiles& p, const void* kernel, int parts) {
  Grid grid{dim3(1), dim3(Team::threads),
            static_cast<size_t>(barriers_bytes(p.stages) + int64_t{p.stages} * p.stage_bytes +
                                Team::joined_bytes)};
  const int all = device::gpu_info().multiprocessors;
  p.splits = std::clamp(all / p.tiles, 1, std::min(most_splits, p.steps));
  for (; p.splits > 1; --p.splits) {
    grid.cluster = static_cast<unsigned>(p.splits);
    if (p.tiles <= clusters_at_once(kernel, grid)) break;
  }
  p.splits = static_cast<int>(tiles(p.steps, tiles(p.steps, p.splits)));
  grid.cluster = static_cast<unsigned>(p.splits);
  // Whole tiles are shared evenly among the blocks.
  const int64_t rounds = p.splits > 1 ? 1 : tiles(p.tiles, all);
  grid.blocks = dim3(static_cast<unsigned>(tiles(p.tiles, rounds)), grid.cluster,
                     static_cast<unsigned>(parts));
  return grid;
}

template <class F, int Words, int Columns>
void run(const device::Context& context, const LinearsArgs& args) {
  Tiles p = plan<F, Words, Columns>(args);
  const auto parts = static_cast<int>(tiles(p.rows, p.rows_a_part));
  const auto kernel = tiles_kernel<F, Words, Columns>;
  const Grid grid =
      choose_splits<TileTeam<Columns>>(p, reinterpret_cast<const void*>(kernel), parts);
  Buffer x = scratch(int64_t{parts} * p.slabs * p.input_bytes);
  Buffer powers = scratch(args.rows * 4);
  p.x = x.as<uint8_t>();
  p.powers = powers.as<float>();
  const Arrange input{args.x,
                      args.norm_weight,
                      static_cast<float>(args.norm_eps),
                      p.rows,
                      p.cols,
                      p.rows_a_part,
                      levels_of(args.activations),
                      x.as<uint8_t>(),
                      powers.as<float>()};
  launch(context, arrange<F, Words>,
         {dim3(static_cast<unsigned>(parts * p.rows_a_part)), arrange_threads(p.cols),
          static_cast<size_t>(p.cols) * 2},
         input);
  launch(context, kernel, grid, p);
}

template <class F, int Words>
void run_columns(const device::Context& context, const LinearsArgs& args) {
  if (args.rows <= 8) return run<F, Words, 8>(context, args);
  if (args.rows <= 16) return run<F, Words, 16>(context, args);
  if (args.rows <= 32) return run<F, Words, 32>(context, args);
  run<F, Words, 64>(context, args);
}

template <class F>
void run_words(const device::Context& context, const LinearsArgs& args) {
  const quant::PackedMatrix& first = *args.parts.front().weight;
  if (chunk_words(first.spec, first.cols) == 4) return run_columns<F, 4>(context, args);
  run_columns<F, 2>(context, args);
}

}  // namespace

bool tile_linears(const device::Context& context, const LinearsArgs& args) {
  if (!suits(context, args)) return false;
  if (args.parts.front().weight->spec.id == FormatId::int4) {
    run_words<format::Int4>(context, args);
  } else {
    run_words<format::Nf4>(context, args);
  }
  const bool rounded = levels_of(args.activations).on;
  for (const LinearPart& part : args.parts) {
    count_strategy(context, "tiles", *part.weight, part.calls);
    if (rounded) count_activations(context, "tiles", args.activations.format, part.calls);
  }
  return true;
}

}  // namespace qsweep::kernels::cuda
