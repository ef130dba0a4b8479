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

TeamArgs team_args(const device::Context& context, const AttendArgs& args) {
  const HeadsArgs& heads = args.heads;
  TeamArgs result{};
  result.position = heads.position;
  result.keys = static_cast<unsigned char*>(heads.keys.data);
  result.values = static_cast<unsigned char*>(heads.values.data);
  result.first = static_cast<int>(heads.first);
  result.capacity = static_cast<int>(heads.keys.capacity);
  result.group = static_cast<int>(heads.heads / heads.keys.kv_heads);
  result.kv_heads = static_cast<int>(heads.keys.kv_heads);
  result.settled = args.settled;
  result.compute = context.compute;
  result.qkv = heads.qkv;
  result.cos = heads.cos;
  result.sin = heads.sin;
  result.q_norm = heads.q_norm;
  result.k_norm = heads.k_norm;
  result.y = args.y;
  result.norm_eps = static_cast<float>(heads.norm_eps);
  return result;
}

template <class T>
void start(const device::Context& context, const AttendArgs& args) {
  const CacheView& keys = args.heads.keys;
  const int64_t dim = keys.head_dim;
  const auto by_columns = [&] {
    const dim3 blocks(static_cast<unsigned>(args.heads.heads), stretches);
    launch(context, decode_columns<T>, {blocks, dim3(threads), attend_bytes<T>(dim), stretches},
           context.compute, args);
  };
  const auto by_teams = [&](auto pieces) {
    constexpr int count = decltype(pieces)::value;
    const TeamArgs team = team_args(context, args);
    const dim3 blocks(static_cast<unsigned>(team.group), stretches,
                      static_cast<unsigned>(team.kv_heads));
    // The kernel itself says that it is one of clusters, which spares it asking.
    launch(context, decode_teams<T, count, threads>,
           {blocks, dim3(threads), sizeof(TeamMemory<T, count, threads>)}, team);
  };
  // Teams count rows of a cache, and 16 bytes of a row beyond the last, in 32 bits.
  if (keys.kv_heads * keys.capacity > (1 << 24)) return by_columns();
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
      return by_columns();
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
