#include "kernels/cuda/ceilings.hpp"

#include <algorithm>

#include "base/rng.hpp"
#include "device/buffer.hpp"
#include "device/gpu.hpp"
#include "kernels/common.hpp"
#include "kernels/cuda/blas.hpp"
#include "kernels/cuda/launch.cuh"

namespace qsweep::kernels::cuda {
namespace {

constexpr int threads = 512, in_flight = 8, rounds = 20;

using device::Buffer;

// A block's threads read neighbouring vectors, eight loads each before the first is used.
__global__ void read_all(const uint4* data, int64_t vectors, uint32_t* sink) {
  wait_for_previous();
  uint32_t sum = 0;
  const int64_t stride = int64_t{gridDim.x} * threads * in_flight;
  for (int64_t at = int64_t{blockIdx.x} * threads * in_flight + threadIdx.x; at < vectors;
       at += stride) {
    uint4 v[in_flight];
#pragma unroll
    for (int i = 0; i < in_flight; ++i) {
      const int64_t from = at + i * threads;
      v[i] = from < vectors ? load_once(data + from) : uint4{0, 0, 0, 0};
    }
#pragma unroll
    for (int i = 0; i < in_flight; ++i) sum += v[i].x ^ v[i].y ^ v[i].z ^ v[i].w;
  }
  if (sum == 0x12345678u) *sink = sum;  // the sum must be used, or the reads could be dropped
}

// Pseudo-random words: matrix units and memory can be faster on constant data.
__global__ void fill_random(uint32_t* words, int64_t count, uint32_t keep, uint32_t set) {
  wait_for_previous();
  const int64_t i = int64_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= count) return;
  auto x = static_cast<uint32_t>(i) * 0x9E3779B9u + 0x7F4A7C15u;
  x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
  x = (x ^ (x >> 13)) * 0xC2B2AE35u;
  words[i] = ((x ^ (x >> 16)) & keep) | set;
}

Buffer random_words(const device::Context& context, uint64_t bytes, uint32_t keep, uint32_t set) {
  Buffer buffer(bytes, device::MemoryClass::workspace, device::Place::gpu);
  const auto count = static_cast<int64_t>(bytes / 4);
  launch(context, fill_random, {blocks_for(count, threads), dim3(threads)}, buffer.as<uint32_t>(),
         count, keep, set);
  return buffer;
}

template <class Work>
double best_seconds(const device::Context& context, Work work) {
  device::GpuTimer timer(context);
  work();
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) {
    timer.start();
    work();
    best = std::min(best, timer.stop());
  }
  return best;
}

}  // namespace

double read_rate(const device::Context& context, uint64_t bytes) {
  Buffer data = random_words(context, bytes, 0xFFFFFFFFu, 0);
  Buffer sink(sizeof(uint32_t), device::MemoryClass::workspace, device::Place::gpu);
  const auto vectors = static_cast<int64_t>(bytes / sizeof(uint4));
  const auto blocks = static_cast<unsigned>(4 * device::gpu_info().multiprocessors);
  const double seconds = best_seconds(context, [&] {
    launch(context, read_all, {dim3(blocks), dim3(threads)}, data.as<uint4>(), vectors,
           sink.as<uint32_t>());
  });
  return static_cast<double>(bytes) / seconds;
}

double matrix_rate(const device::Context& context) {
  const bool bf16 = context.compute == device::Compute::bf16;
  const int64_t n = bf16 ? 8192 : 4096;
  const auto bytes = static_cast<uint64_t>(n * n * (bf16 ? 2 : 4));
  // Signs and mantissas are random, exponents those of [1, 2).
  const uint32_t keep = bf16 ? 0x807F807Fu : 0x807FFFFFu, set = bf16 ? 0x3F803F80u : 0x3F800000u;
  const Buffer a = random_words(context, bytes, keep, set),
               b = random_words(context, bytes, keep, set);
  Buffer c(static_cast<size_t>(n * n) * 4, device::MemoryClass::workspace, device::Place::gpu);
  Product product;
  product.operand = bf16 ? Operand::bf16 : Operand::fp32;
  product.a = a.data();
  product.b = b.data();
  product.c = c.as<float>();
  product.lda = product.ldb = product.ldc = product.rows = product.cols = product.inner = n;
  const double seconds = best_seconds(context, [&] { multiply(context, product); });
  const auto size = static_cast<double>(n);
  return 2 * size * size * size / seconds;
}

}  // namespace qsweep::kernels::cuda
