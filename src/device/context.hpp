// Where and how ops run: backend, threads, activation type, and the ledger of kernels that really
// ran.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/names.hpp"
#include "device/buffer.hpp"

struct CUstream_st;

namespace qsweep::device {

enum class Backend { cpu, cuda };
enum class Compute { fp32, bf16 };  // type of activations between ops; accumulation is fp32 in both

// Calls by kernel name, e.g. "linear/gemv/int4": the certificate's witness. One writer at a time.
class KernelCalls {
 public:
  void count(std::string_view kernel, uint64_t calls = 1);
  const std::map<std::string, uint64_t, std::less<>>& calls() const { return calls_; }
  void clear() { calls_.clear(); }

 private:
  std::map<std::string, uint64_t, std::less<>> calls_;
};

// Seconds spent inside each op, by its name: filled where a context asks for it, which only the
// benchmarks do. One writer at a time.
class OpProfile {
 public:
  void add(std::string_view op, double seconds);
  double seconds(std::string_view op) const;

 private:
  std::vector<std::pair<std::string_view, double>> ops_;  // names are literals of the ops
};

struct Context {
  Backend backend = Backend::cpu;
  Compute compute = Compute::fp32;
  int threads = 1;                // OpenMP threads; results do not depend on it
  KernelCalls* calls = nullptr;   // not owned; may be null
  OpProfile* profile = nullptr;   // the same
  CUstream_st* stream = nullptr;  // cudaStream_t; every kernel and copy of a process is on this one

  // Where ops expect activations, weights and caches.
  Place place() const { return backend == Backend::cuda ? Place::gpu : Place::host; }
};

}  // namespace qsweep::device

template <>
inline constexpr auto qsweep::enum_names<qsweep::device::Backend> =
    std::to_array<qsweep::NamePair<qsweep::device::Backend>>(
        {{qsweep::device::Backend::cpu, "cpu"}, {qsweep::device::Backend::cuda, "cuda"}});
template <>
inline constexpr auto qsweep::enum_names<qsweep::device::Compute> =
    std::to_array<qsweep::NamePair<qsweep::device::Compute>>(
        {{qsweep::device::Compute::fp32, "fp32"}, {qsweep::device::Compute::bf16, "bf16"}});
