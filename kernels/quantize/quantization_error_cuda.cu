// A warp sums a piece of a group; then each of a fixed number of threads adds up the groups that
// fall to it, in order, and one block what they found.
#include <limits>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "kernels/common.hpp"
#include "kernels/quantize/quantize.hpp"
#include "kernels/quantize/quantize_cuda.cuh"

namespace qsweep::kernels::cuda {
namespace {

using device::Buffer;
using device::Context;

constexpr int threads = quantize_threads;
constexpr int64_t warps = threads / warp_size;
constexpr int64_t adders = 256;  // blocks that add up groups

struct Sums {
  double error, energy, decoded, product;
  __device__ void add(const Sums& other) {
    error += other.error;
    energy += other.energy;
    decoded += other.decoded;
    product += other.product;
  }
};

// Element `at` of a line, and its group's number within the line.
template <class F>
__device__ float decoded_at(const PackedView& packed, int64_t line, int64_t at, int64_t group) {
  const uint8_t* codes = packed.codes + line * packed.groups.line_bytes;
  if constexpr (!F::scaled) {
    return code_value<F>(codes, at, false, 0);
  } else {
    const float zero = packed.asymmetric ? packed.zeros(line, group) : 0.0f;
    return code_value<F>(codes, at, packed.asymmetric, zero) *
           packed.scale(packed.groups.index(line, group));
  }
}

template <class F>
__global__ void sum_pieces(RawView w, PackedView packed, Pieces pieces, int64_t count, Sums* out) {
  wait_for_previous();
  let_next_start();
  const int64_t i = int64_t{blockIdx.x} * warps + threadIdx.x / warp_size;
  if (i >= count) return;
  const Pieces::Piece piece = pieces(i);
  Sums sums{};
  for (int64_t at = piece.begin + threadIdx.x % warp_size; at < piece.end; at += warp_size) {
    const double a = w(piece.line * pieces.groups.width + at);
    const double b = decoded_at<F>(packed, piece.line, at, piece.group);
    sums.error += (a - b) * (a - b);
    sums.energy += a * a;
    sums.decoded += b * b;
    sums.product += a * b;
  }
  sums.error = over_warp(sums.error, Add{});
  sums.energy = over_warp(sums.energy, Add{});
  sums.decoded = over_warp(sums.decoded, Add{});
  sums.product = over_warp(sums.product, Add{});
  if (threadIdx.x % warp_size == 0) out[i] = sums;
}

struct LargerDouble {
  __device__ double operator()(double a, double b) const { return a > b ? a : b; }
};

__device__ double ratio(double error, double energy) {
  if (energy > 0) return error / energy;
  return error > 0 ? std::numeric_limits<double>::infinity() : 0.0;
}

__device__ ErrorSums block_total(const Sums& sums, double worst) {
  __shared__ double by_warp[warps];
  ErrorSums total;
  total.error = over_block(sums.error, by_warp, Add{});
  total.energy = over_block(sums.energy, by_warp, Add{});
  total.decoded = over_block(sums.decoded, by_warp, Add{});
  total.product = over_block(sums.product, by_warp, Add{});
  total.worst_group = over_block(worst, by_warp, LargerDouble{});
  return total;
}

// `each` pieces make a group.
__global__ void sum_groups(const Sums* pieces, int64_t groups, int64_t each, ErrorSums* out) {
  wait_for_previous();
  let_next_start();
  Sums total{};
  double worst = 0;
  const int64_t stride = int64_t{gridDim.x} * threads;
  for (int64_t g = int64_t{blockIdx.x} * threads + threadIdx.x; g < groups; g += stride) {
    Sums group{};
    for (int64_t i = g * each; i < (g + 1) * each; ++i) group.add(pieces[i]);
    total.add(group);
    worst = LargerDouble{}(worst, ratio(group.error, group.energy));
  }
  const ErrorSums sums = block_total(total, worst);
  if (threadIdx.x == 0) out[blockIdx.x] = sums;
}

__global__ void sum_blocks(const ErrorSums* blocks, ErrorSums* out) {
  static_assert(adders == threads);
  wait_for_previous();
  let_next_start();
  const ErrorSums& mine = blocks[threadIdx.x];
  const ErrorSums sums =
      block_total(Sums{mine.error, mine.energy, mine.decoded, mine.product}, mine.worst_group);
  if (threadIdx.x == 0) *out = sums;
}

Buffer scratch(int64_t bytes) {
  return Buffer(static_cast<size_t>(bytes), device::MemoryClass::workspace, device::Place::gpu);
}

}  // namespace

ErrorSums quantization_error(const Context& context, const PackedMatrix& packed,
                             const PackedMatrix& weights) {
  expect(packed.rows == weights.rows && packed.cols == weights.cols,
         "the original weights have the shape of the packed matrix");
  count(context, "quantize/error");
  const PackedView view = view_of(packed);
  const RawView w = raw_view(weights);
  const Pieces pieces = pieces_of(packed.spec, packed.rows, packed.cols);
  Buffer by_piece = scratch(pieces.count() * static_cast<int64_t>(sizeof(Sums)));
  Buffer by_block = scratch(adders * static_cast<int64_t>(sizeof(ErrorSums)));
  Buffer total = scratch(sizeof(ErrorSums));
  format::visit_format(packed.spec.id, [&](auto f) {
    launch(context, sum_pieces<decltype(f)>, {blocks_for(pieces.count(), warps), dim3(threads)}, w,
           view, pieces, pieces.count(), by_piece.as<Sums>());
  });
  const int64_t groups = pieces.groups.count();
  launch(context, sum_groups, {dim3(adders), dim3(threads)}, by_piece.as<Sums>(), groups,
         pieces.count() / groups, by_block.as<ErrorSums>());
  launch(context, sum_blocks, {dim3(1), dim3(threads)}, by_block.as<ErrorSums>(),
         total.as<ErrorSums>());
  ErrorSums sums;
  device::copy_bytes(&sums, device::Place::host, total.data(), device::Place::gpu, sizeof sums);
  return sums;
}

}  // namespace qsweep::kernels::cuda
