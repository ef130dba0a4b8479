// How every kernel is started, and the sums and maxima over warps and blocks that several use.
#pragma once

#include "device/context.hpp"
#include "device/cuda_check.hpp"
#include "kernels/cuda/intrinsics.cuh"

namespace qsweep::kernels::cuda {

constexpr int warp_size = 32;

struct Grid {
  dim3 blocks, threads;
  size_t shared_bytes = 0;
  unsigned cluster = 1;  // blocks of a cluster, along y
};

// Starts `kernel` behind what is on the context's stream. It may begin while the kernel before it
// still runs, so it calls wait_for_previous() before it touches what others write.
template <class... P, class... A>
void launch(const device::Context& context, void (*kernel)(P...), const Grid& grid, A... args) {
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {1, grid.cluster, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = context.stream;
  config.attrs = attributes;
  config.numAttrs = grid.cluster > 1 ? 2 : 1;
  // 48 KB need no asking, the kernel's own static memory among them: no kernel here has 24.
  if (grid.shared_bytes > 24 * 1024) {
    device::cuda_check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                            cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            static_cast<int>(grid.shared_bytes)),
                       "asking for shared memory");
  }
  device::cuda_check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...),
                     "launching a kernel");
}

// Grid and block sizes are positive and far below 2^31.
inline dim3 blocks_for(int64_t count, int64_t each) {
  return dim3(static_cast<unsigned>((count + each - 1) / each));
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Larger {
  __device__ float operator()(float a, float b) const { return a > b ? a : b; }
};

// The same value in every lane; the order is fixed.
template <class T, class Join>
__device__ T over_warp(T value, Join join) {
  for (int step = warp_size / 2; step > 0; step /= 2) {
    value = join(value, __shfl_xor_sync(0xFFFFFFFFu, value, step));
  }
  return value;
}

// The same value in every thread of a one-dimensional block of whole warps; `scratch` has a place
// for each warp and may be used again after the next barrier.
template <class T, class Join>
__device__ T over_block(T value, T* scratch, Join join) {
  value = over_warp(value, join);
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  if (threadIdx.x % warp_size == 0) scratch[threadIdx.x / warp_size] = value;
  __syncthreads();
  value = scratch[0];
  for (int w = 1; w < warps; ++w) value = join(value, scratch[w]);
  __syncthreads();
  return value;
}

}  // namespace qsweep::kernels::cuda
