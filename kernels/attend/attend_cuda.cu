// One row in one kernel: a cluster of blocks shares a query head, a stretch of the positions each,
// and its first block joins them. While the projection before still runs, the stretch is asked for
// from the second-level cache.
#include "kernels/attend/attend_kernel.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 128;
constexpr int stretches = 8;  // blocks of a cluster: the most that every Hopper schedules

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

template <class T, class Products>
__global__ void __launch_bounds__(threads)
    decode_cluster(device::Compute compute, const __grid_constant__ AttendArgs args) {
  __shared__ float scores[threads];
  __shared__ float scratch[threads / warp_size];
  __shared__ Softmax mine;
  using Part = Stretch<T, threads>;
  Part(args, blockIdx.x, blockIdx.y, stretches).prefetch(static_cast<int>(threadIdx.x), threads);
  let_next_start();
  wait_for_previous();
  const Part part(args, blockIdx.x, blockIdx.y, stretches);  // the position may be new
  const AttendMemory<T, threads> memory(shared_memory<float>(), part.dim);
  const Softmax softmax =
      attend_stretch<T, threads, Products>(compute, part, memory, scores, scratch);
  if (threadIdx.x == 0) mine = softmax;
  __syncthreads();
  join(compute, args, memory.weighted, &mine, part.dim);
}

using Kernel = void (*)(device::Compute, AttendArgs);

template <class T>
Kernel kernel_for(int64_t dim) {
  if (dim % team_columns != 0 || dim > 256) return decode_cluster<T, ByColumns<T, threads>>;
  return dim <= 128 ? decode_cluster<T, ByTeams<T, 4, threads, 8>>
                    : decode_cluster<T, ByTeams<T, 8, threads, 8>>;
}

template <class T>
void start(const device::Context& context, const AttendArgs& args) {
  const int64_t dim = args.heads.keys.head_dim;
  const Grid grid{dim3(static_cast<unsigned>(args.heads.heads), stretches), dim3(threads),
                  attend_bytes<T, threads>(dim), stretches};
  launch(context, kernel_for<T>(dim), grid, context.compute, args);
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
