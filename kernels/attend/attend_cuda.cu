// One row in one kernel: a cluster of blocks shares a query head, a stretch of the positions each,
// and its first block joins them.
#include "kernels/attend/attend_teams.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 128;
constexpr int stretches = attend_blocks;

// The stretches of a head, in order; every block of the cluster takes part.
__device__ void join(device::Compute compute, const AttendArgs& args, const float* weighted,
                     const Softmax* mine, int64_t dim) {
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 0) {
    float factor[stretches], largest = -INFINITY, sum = 0;
    for (int k = 0; k < stretches; ++k) {
      factor[k] = load_from_block(&mine->largest, static_cast<uint32_t>(k));
      largest = fmaxf(largest, factor[k]);
    }
    for (int k = 0; k < stretches; ++k) {
      factor[k] = expf(factor[k] - largest);
      sum += factor[k] * load_from_block(&mine->sum, static_cast<uint32_t>(k));
    }
    for (int64_t i = threadIdx.x; i < dim; i += threads) {
      float y = 0;
      for (int k = 0; k < stretches; ++k) {
        y += factor[k] * load_from_block(weighted + i, static_cast<uint32_t>(k));
      }
      args.y[blockIdx.x * dim + i] = stored(compute, y / sum);
    }
  }
  cluster_arrive();  // shared memory stays until it was read
  cluster_wait();
}

template <class T>
__global__ void __launch_bounds__(threads)
    decode_columns(device::Compute compute, const __grid_constant__ AttendArgs args) {
  __shared__ float scores[threads];
  __shared__ float scratch[threads / warp_size];
  __shared__ Softmax mine;
  using Part = Stretch<T, threads>;
  let_next_start();
  wait_for_previous();
  const Part part(args, blockIdx.x, blockIdx.y, stretches);
  const AttendMemory<T> memory(shared_memory<float>(), part.dim);
  const Softmax softmax = attend_stretch<T, threads>(compute, part, memory, scores, scratch);
  if (threadIdx.x == 0) mine = softmax;
  __syncthreads();
  join(compute, args, memory.weighted, &mine, part.dim);
}

template <class T>
void start(const device::Context& context, const AttendArgs& args) {
  const int64_t dim = args.heads.keys.head_dim;
  const dim3 blocks(static_cast<unsigned>(args.heads.heads), stretches);
  const auto by_teams = [&](auto pieces) {
    constexpr int count = decltype(pieces)::value;
    launch(context, decode_teams<T, count, threads>,
           {blocks, dim3(threads), sizeof(TeamMemory<T, count, threads>), stretches},
           context.compute, args);
  };
  switch (dim) {
    case 64:
      return by_teams(std::integral_constant<int, 2>{});
    case 96:
      return by_teams(std::integral_constant<int, 3>{});
    case 128:
      return by_teams(std::integral_constant<int, 4>{});
    case 256:
      return by_teams(std::integral_constant<int, 8>{});
    default:
      launch(context, decode_columns<T>, {blocks, dim3(threads), attend_bytes<T>(dim), stretches},
             context.compute, args);
  }
}

}  // namespace

void attend_decode(const device::Context& context, const AttendArgs& args) {
  count(context, "attend/decode_cluster");
  if (args.heads.keys.type == CacheType::fp32) {
    start<float>(context, args);
  } else {
    start<uint16_t>(context, args);
  }
}

}  // namespace qsweep::kernels::cuda
