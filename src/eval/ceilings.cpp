// What this process can reach here and now: a streaming read and a matrix product (fp32 on the CPU,
// in the activations' type on the GPU), the yardsticks of every fraction that a record states.
#include <omp.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <vector>

#include "base/clock.hpp"
#include "device/buffer.hpp"
#include "eval/workload.hpp"
#include "kernels/blas.hpp"
#include "kernels/cuda/ceilings.hpp"
#include "kernels/simd/streaming_read.hpp"

namespace qsweep::eval {
namespace {

constexpr int64_t matrix_size =
    512;  // 3 MB of operands a thread: inside any L2+L3, 0.27 GFLOP a product
constexpr double measure_seconds = 0.05;

double read_rate(int threads, uint64_t bytes) {
  device::Buffer buffer(bytes, device::MemoryClass::workspace);
  // Whole blocks of streaming_read, so that every byte of a share is read.
  const uint64_t share = bytes / static_cast<uint64_t>(threads) / 256 * 256;
  uint64_t sink = 0;
  const auto pass = [&](bool fill) {
#pragma omp parallel for num_threads(threads) reduction(+ : sink) schedule(static)
    for (int t = 0; t < threads; ++t) {
      std::byte* begin = buffer.data() + share * static_cast<uint64_t>(t);
      if (fill) {
        std::fill(begin, begin + share, std::byte{1});
      } else {
        sink += kernels::streaming_read({begin, share});
      }
    }
  };
  pass(true);
  double best = 0;
  const Stopwatch total;
  do {
    const Stopwatch watch;
    pass(false);
    best = std::max(best,
                    static_cast<double>(share * static_cast<uint64_t>(threads)) / watch.seconds());
  } while (total.seconds() < measure_seconds);
  // The sum must be used, or the reads could be dropped.
  return sink == 0 ? 0 : best;
}

double matrix_rate(int threads) {
  const size_t elements = static_cast<size_t>(matrix_size * matrix_size);
  const int n = static_cast<int>(matrix_size);
  double rate = 0;  // FLOP/s summed over threads
#pragma omp parallel num_threads(threads) reduction(+ : rate)
  {
    const std::vector<float> a(elements, 0.5f), b(elements, 0.25f);
    std::vector<float> c(elements);
    const auto product = [&] {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, n, n, 1.0f, a.data(), n, b.data(), n,
                  0.0f, c.data(), n);
    };
    product();
#pragma omp barrier
    const Stopwatch watch;
    int64_t products = 0;
    for (; watch.seconds() < measure_seconds; ++products) product();
    rate = 2.0 * static_cast<double>(matrix_size * matrix_size * matrix_size) *
           static_cast<double>(products) / watch.seconds();
  }
  return rate;
}

}  // namespace

namespace {

// A GPU's weights never fit its cache, so the working set is a gigabyte whatever the model.
Ceilings measure_gpu(const device::Context& context) {
  static std::mutex mutex;
  static Ceilings known;
  const std::lock_guard lock(mutex);
  if (known.bytes_per_s == 0) {
    known.bytes_per_s = kernels::cuda::read_rate(context, uint64_t{1} << 30);
    known.flops_per_s = kernels::cuda::matrix_rate(context);
  }
  return known;
}

}  // namespace

Ceilings measure_ceilings(const device::Context& context, uint64_t working_set_bytes) {
  if (context.backend == device::Backend::cuda) return measure_gpu(context);
  // A working set of the size of the weights: what fits a cache is judged by the cache's rate.
  constexpr uint64_t smallest = 1u << 20, largest = 1u << 28;
  const uint64_t bytes = std::bit_ceil(std::clamp(working_set_bytes, smallest, largest));
  static std::mutex mutex;
  static std::map<std::pair<int, uint64_t>, Ceilings> known;
  const std::lock_guard lock(mutex);
  Ceilings& entry = known[{context.threads, bytes}];
  if (entry.bytes_per_s == 0) {
    kernels::single_threaded_blas();
    entry.bytes_per_s = read_rate(context.threads, bytes);
    entry.flops_per_s = matrix_rate(context.threads);
  }
  return entry;
}

}  // namespace qsweep::eval
