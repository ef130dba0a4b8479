// The GPU of this process: choice, memory, copies. One GPU and one stream a process; a build
// without CUDA answers that there is none (gpu_none.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "device/buffer.hpp"
#include "device/context.hpp"

namespace qsweep::device {

struct GpuInfo {
  std::string name, uuid;
  std::string driver, runtime;  // versions; driver empty where NVML is missing
  uint64_t memory_bytes = 0;
  int multiprocessors = 0;
  bool operator==(const GpuInfo&) const = default;
};

bool built_with_cuda();
// Visible GPUs; 0 where there is no driver or none is visible. Never throws.
int gpu_count();
// Why there is no GPU to use, or empty.
std::string gpu_problem();

// Takes GPU `local_rank` of the node (modulo their number where `allow_sharing`) for this process
// and returns a context on it. Throws Error{gpu_guard} where there is none, Error{invalid_input}
// where the node has more ranks than GPUs. Later calls must name the same GPU.
Context open_gpu(int local_rank, int local_ranks, bool allow_sharing);
// Makes that GPU the calling thread's current one, which for a new thread is the first of the node.
// The copies below do so themselves.
void use_gpu_of_process();
// The GPU that open_gpu() took; empty before.
const GpuInfo& gpu_info();

// Null where the GPU has no more. `pooled`: from the pool of freed workspace where it has this
// size. Throws Error{unavailable} in a build without CUDA.
void* gpu_allocate(size_t bytes, bool pooled);
void gpu_free(void* data, size_t bytes, bool pooled) noexcept;
// Gives what the pool keeps back to the driver, for allocations that do not ask the pool.
void gpu_release_unused() noexcept;

// Copies on the process's stream; returns when host memory on either side may be used again.
// Throws Error{internal} where an earlier kernel failed.
void copy_bytes(void* to, Place to_place, const void* from, Place from_place, size_t bytes);
// GPU to GPU in stream order, without waiting.
void copy_on_gpu(const Context& context, void* to, const void* from, size_t bytes);
// Waits for everything on the stream. A backend without a stream is always done.
void synchronize(const Context& context);

// Workspace that a recorded graph goes on using: what is freed between open() and close() stays
// with the lease, is booked, and goes back to the pool with it. One lease is open at a time.
class WorkspaceLease {
 public:
  WorkspaceLease() = default;
  ~WorkspaceLease();
  WorkspaceLease(const WorkspaceLease&) = delete;
  WorkspaceLease& operator=(const WorkspaceLease&) = delete;
  void open();
  void close();

 private:
  int64_t bytes_ = 0;     // booked
  void* kept_ = nullptr;  // the blocks, while there are any
};

// Seconds of GPU time between two points of the stream; host clock on the CPU backend.
class GpuTimer {
 public:
  explicit GpuTimer(const Context& context);
  ~GpuTimer();
  GpuTimer(const GpuTimer&) = delete;
  GpuTimer& operator=(const GpuTimer&) = delete;
  void start();
  double stop();  // waits

 private:
  CUstream_st* stream_;
  void* begin_ = nullptr;  // cudaEvent_t
  void* end_ = nullptr;
};

// A sequence of kernels recorded once and launched again and again. What it reads and writes must
// stay where it is. `record` may only launch kernels and copies on the GPU.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  template <class Record>
  void capture(const Context& context, Record record) {
    begin_capture(context);
    try {
      record();
    } catch (...) {
      drop_capture(context);
      throw;
    }
    end_capture(context);
  }
  bool ready() const { return executable_ != nullptr; }
  void launch(const Context& context) const;

 private:
  static void begin_capture(const Context& context);
  static void drop_capture(const Context& context) noexcept;
  void end_capture(const Context& context);
  void* executable_ = nullptr;  // cudaGraphExec_t
};

}  // namespace qsweep::device
