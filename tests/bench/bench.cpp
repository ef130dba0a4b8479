#include "bench/bench.hpp"

#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>

#include "base/clock.hpp"
#include "base/rng.hpp"
#include "kernels/simd/streaming_read.hpp"

namespace qsweep::bench {
namespace {

bool tiny_sizes = false;

void settle(bool wanted) {
  // OpenBLAS gives up spinning after 2^26 cycles, some 25 ms; OpenMP sooner.
  if (wanted && !tiny_sizes) std::this_thread::sleep_for(std::chrono::milliseconds(60));
}

double seconds_of(const std::function<void()>& work) {
  const Stopwatch watch;
  work();
  return watch.seconds();
}

Round compare(const Comparison& pair, bool wait) {
  Round round;
  settle(wait);
  round.ceiling_s = seconds_of(pair.ceiling);
  settle(wait);
  round.kernel_s = seconds_of(pair.kernel);
  round.fraction = pair.ratio * round.ceiling_s / round.kernel_s;
  return round;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

void run(benchmark::State& state, const Measurement& entry) {
  const std::function<Round()> measure = entry.prepare();
  std::vector<double> kernel_s, ceiling_s, fractions;
  for (auto _ : state) {
    const Round round = measure();
    kernel_s.push_back(round.kernel_s);
    ceiling_s.push_back(round.ceiling_s);
    fractions.push_back(round.fraction);
    state.SetIterationTime(round.kernel_s);
  }
  state.SetLabel(entry.against);
  state.counters["kernel_ms"] = median(kernel_s) * 1e3;
  state.counters["ceiling_ms"] = median(ceiling_s) * 1e3;
  state.counters["fraction"] = median(fractions);
  state.counters["target"] = entry.target;
}

}  // namespace

bool tiny() {
  return tiny_sizes;
}

void add(Measurement entry) {
  const int rounds = tiny() ? 1 : entry.rounds;
  benchmark::RegisterBenchmark(entry.name.c_str(),
                               [entry](benchmark::State& state) { run(state, entry); })
      ->UseManualTime()
      ->Iterations(rounds)
      ->Unit(benchmark::kMillisecond);
}

void add(Case entry) {
  add(Measurement{entry.name, entry.against, entry.target, entry.rounds,
                  [prepare = entry.prepare, wait = entry.settle]() -> std::function<Round()> {
                    const Comparison pair = prepare();
                    pair.ceiling();  // first touch, page faults, thread start: not measured
                    pair.kernel();
                    return [pair, wait] { return compare(pair, wait); };
                  }});
}

void blas_product(int threads, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
                  float* c) {
  openblas_set_num_threads(threads);
  const auto size = [](int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(m), size(n), size(k), 1.0f, a, size(k),
              b, size(k), 0.0f, c, size(n));
  openblas_set_num_threads(1);  // as the kernels expect it
}

void streaming_read(int threads, const std::vector<std::span<const std::byte>>& buffers) {
  uint64_t sink = 0;
  for (const auto& buffer : buffers) {
    const auto share = static_cast<int64_t>(buffer.size()) / threads / 256 * 256;
#pragma omp parallel for num_threads(threads) reduction(+ : sink) schedule(static)
    for (int64_t t = 0; t < threads; ++t) {
      sink += kernels::streaming_read(
          buffer.subspan(static_cast<size_t>(t * share), static_cast<size_t>(share)));
    }
  }
  benchmark::DoNotOptimize(sink);
}

std::vector<int> thread_counts() {
  if (omp_get_num_procs() < 2) return {1};
  return {1, 2};
}

std::vector<float> random_values(int64_t n, uint64_t seed, double scale) {
  Rng rng(seed);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = static_cast<float>((2 * rng.uniform() - 1) * scale);
  return values;
}

namespace {

device::Buffer copy_of(const device::Buffer& from) {
  device::Buffer to(from.size(), device::MemoryClass::weights);
  if (from.size() > 0) std::memcpy(to.data(), from.data(), from.size());
  return to;
}

}  // namespace

std::vector<quant::PackedMatrix> packed_copies(const quant::FormatSpec& spec, int64_t rows,
                                               int64_t cols, int64_t copies) {
  std::vector<quant::PackedMatrix> all;
  all.push_back(quant::quantize_rtn(spec, random_values(rows * cols, 1, 0.05), rows, cols,
                                    static_cast<int>(std::thread::hardware_concurrency())));
  while (static_cast<int64_t>(all.size()) < copies) {
    const quant::PackedMatrix& first = all.front();
    all.push_back({first.spec, rows, cols, copy_of(first.codes), copy_of(first.scales),
                   copy_of(first.zeros)});
  }
  return all;
}

}  // namespace qsweep::bench

int main(int argc, char** argv) {
  using namespace qsweep::bench;
  const auto is_tiny = [](const char* argument) { return std::string_view(argument) == "--tiny"; };
  char** end = std::remove_if(argv + 1, argv + argc, is_tiny);
  tiny_sizes = end != argv + argc;
  argc = static_cast<int>(end - argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  add_prefill_benchmarks();
  add_gemv_benchmarks();
  add_attention_benchmarks();
  add_model_benchmarks();
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
