// A benchmark here is a comparison: the engine's kernel and the ceiling it is held against run in
// turn in one process, so that whatever else the machine does befalls both. Reported are the
// medians of both times and of the ratio ceiling / kernel of each round.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "device/context.hpp"
#include "quant/format/format.hpp"

namespace qsweep::bench {

// --tiny: the smallest shapes and one round, for the smoke test.
bool tiny();
inline int64_t sized(int64_t full, int64_t small) {
  return tiny() ? small : full;
}

// One round of a measurement.
struct Round {
  double kernel_s = 0, ceiling_s = 0;
  double fraction = 0;
};

struct Comparison {
  std::function<void()> kernel, ceiling;
  double ratio = 1;  // work of the kernel over work of the ceiling, in the unit both are bound by
};

struct Case {
  std::string name, against;
  double target = 0;  // least fraction (or speed-up) that is held to be good enough; 0: none is set
  int rounds = 11;
  // OpenBLAS and OpenMP keep their threads spinning for a while after their work, on the cores that
  // the other one wants: wait for that to end before each measurement.
  bool settle = false;
  std::function<Comparison()> prepare;  // what it builds lives as long as the functions it returns
};

// Registers the comparison with Google Benchmark.
void add(Case entry);

// The same for what is no such comparison: `prepare` gives the function that measures a round.
struct Measurement {
  std::string name, against;
  double target = 0;
  int rounds = 11;
  std::function<std::function<Round()>()> prepare;
};
void add(Measurement entry);

// SGEMM of OpenBLAS with its own threads: c [m, n] = a [m, k] b [n, k]^T.
void blas_product(int threads, int64_t m, int64_t n, int64_t k, const float* a, const float* b,
                  float* c);
// Reads every byte of the buffers, each thread a share of each.
void streaming_read(int threads, const std::vector<std::span<const std::byte>>& buffers);

std::vector<int> thread_counts();  // 1, and 2 where there are two cores

std::vector<float> random_values(int64_t n, uint64_t seed, double scale = 1);
// One matrix of this format, and `copies` - 1 more with the same bytes at other addresses.
std::vector<quant::PackedMatrix> packed_copies(const quant::FormatSpec& spec, int64_t rows,
                                               int64_t cols, int64_t copies);

void add_prefill_benchmarks();    // linear, many rows
void add_gemv_benchmarks();       // linear, one row
void add_attention_benchmarks();  // attention
void add_model_benchmarks();      // whole steps of data/mini-phi3

}  // namespace qsweep::bench
