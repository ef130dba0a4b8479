#include "device/gpu.hpp"

#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "device/cuda_check.hpp"
#include "device/nvml.hpp"

namespace qsweep::device {
namespace {

// The process's GPU, once taken.
struct Taken {
  int index = -1;
  cudaStream_t stream = nullptr;
  GpuInfo info;
};

Taken& taken() {
  static Taken instance;
  return instance;
}

using Blocks = std::map<size_t, std::vector<void*>>;  // by padded size

// Freed workspace, and the open lease that gets it first.
struct Pool {
  std::mutex mutex;
  Blocks free;
  Blocks* leased = nullptr;
};

// Never destroyed: buffers of static storage may be freed after it, when the driver is gone anyway.
Pool& pool() {
  static Pool* instance = new Pool;
  return *instance;
}

// Word loads at the end of a buffer may reach beyond it.
constexpr size_t padding = 64;
// Sizes are rounded so that few differ: 256 bytes below a megabyte, a megabyte above.
size_t padded_size(size_t bytes) {
  const size_t grain = bytes < (size_t{1} << 20) ? 256 : size_t{1} << 20;
  return (bytes + padding + grain - 1) / grain * grain;
}

void* take(Blocks& blocks, size_t padded) {
  const auto found = blocks.find(padded);
  if (found == blocks.end() || found->second.empty()) return nullptr;
  void* data = found->second.back();
  found->second.pop_back();
  return data;
}

void* take_pooled(size_t padded) {
  Pool& kept = pool();
  const std::lock_guard lock(kept.mutex);
  void* data = kept.leased != nullptr ? take(*kept.leased, padded) : nullptr;
  return data != nullptr ? data : take(kept.free, padded);
}

// Gives what the pool keeps back to the driver; whether there was any.
bool trim_pool() {
  Pool& kept = pool();
  const std::lock_guard lock(kept.mutex);
  bool any = false;
  for (auto& [size, blocks] : kept.free) {
    any = any || !blocks.empty();
    for (void* block : blocks) cudaFree(block);
  }
  kept.free.clear();
  return any;
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string uuid_text(const cudaUUID_t& uuid) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text = "GPU-";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

GpuInfo describe(int index) {
  cudaDeviceProp properties{};
  cuda_check(cudaGetDeviceProperties(&properties, index), "reading its properties");
  int runtime = 0;
  cuda_check(cudaRuntimeGetVersion(&runtime), "reading the runtime's version");
  GpuInfo info;
  info.name = properties.name;
  info.uuid = uuid_text(properties.uuid);
  info.runtime = version_text(runtime);
  info.memory_bytes = properties.totalGlobalMem;
  info.multiprocessors = properties.multiProcessorCount;
  info.driver = nvml_driver_version();
  if (properties.major < 9) {
    throw Error(ErrorKind::gpu_guard, "the GPU " + info.name + " cannot be used",
                "this build's kernels need compute capability 9.0 or newer",
                "use --backend cpu, or a Hopper GPU");
  }
  return info;
}

// One user at a time.
constexpr size_t staging_bytes = 4096;
std::mutex& staging_mutex() {
  static auto* mutex = new std::mutex;
  return *mutex;
}
void* staging() {
  static void* const pinned = [] {
    void* data = nullptr;
    cuda_check(cudaMallocHost(&data, staging_bytes), "pinning memory");
    return data;
  }();
  return pinned;
}

cudaMemcpyKind kind(Place to, Place from) {
  if (to == Place::gpu) {
    return from == Place::gpu ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
  }
  return cudaMemcpyDeviceToHost;
}

}  // namespace

bool built_with_cuda() {
  return true;
}

int gpu_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();  // the sticky error of a machine without a driver
    return 0;
  }
  return count;
}

std::string gpu_problem() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (code != cudaSuccess) return cudaGetErrorString(code);
  return count > 0 ? "" : "no GPU is visible to this process (CUDA_VISIBLE_DEVICES?)";
}

Context open_gpu(int local_rank, int local_ranks, bool allow_sharing) {
  const int count = gpu_count();
  if (count == 0) {
    throw Error(ErrorKind::gpu_guard, "no GPU can be used", gpu_problem(),
                "start on a GPU node, or use --backend cpu");
  }
  if (local_ranks > count && !allow_sharing) {
    throw_invalid("this node has " + std::to_string(local_ranks) + " ranks and " +
                      std::to_string(count) + " GPU(s)",
                  "ranks that share a GPU spoil each other's times",
                  "start one rank a GPU, or allow it with --allow-sharing");
  }
  Taken& mine = taken();
  const int index = local_rank % count;
  if (mine.index < 0) {
    cuda_check(cudaSetDevice(index), "choosing it");
    mine.info = describe(index);
    cuda_check(cudaStreamCreateWithFlags(&mine.stream, cudaStreamNonBlocking), "making a stream");
    mine.index = index;
  }
  expect(mine.index == index, "a process uses one GPU");
  Context context;
  context.backend = Backend::cuda;
  context.compute = Compute::bf16;
  context.stream = mine.stream;
  return context;
}

void use_gpu_of_process() {
  thread_local int current = -1;
  const int mine = taken().index;
  if (mine < 0 || current == mine) return;
  cuda_check(cudaSetDevice(mine), "choosing it");
  current = mine;
}

const GpuInfo& gpu_info() {
  return taken().info;
}

void* gpu_allocate(size_t bytes, bool pooled) {
  const size_t padded = padded_size(bytes);
  if (padded < bytes) return nullptr;
  if (pooled) {
    if (void* data = take_pooled(padded)) return data;
  }
  void* data = nullptr;
  cudaError_t code = cudaMalloc(&data, padded);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    if (!trim_pool()) return nullptr;
    code = cudaMalloc(&data, padded);
    if (code == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
  }
  cuda_check(code, "allocating memory");
  // What kernels read beyond the end of weights does not matter, but it should be something.
  // Workspace is never read there, and may be taken while a graph records all that the stream does.
  if (!pooled) {
    cuda_check(
        cudaMemsetAsync(static_cast<std::byte*>(data) + bytes, 0, padded - bytes, taken().stream),
        "clearing the padding");
  }
  return data;
}

// Pooled memory is used again in stream order, so kernels that still read it are no danger.
void gpu_free(void* data, size_t bytes, bool pooled) noexcept {
  if (pooled) {
    try {
      Pool& kept = pool();
      const std::lock_guard lock(kept.mutex);
      Blocks& blocks = kept.leased != nullptr ? *kept.leased : kept.free;
      blocks[padded_size(bytes)].push_back(data);
      return;
    } catch (const std::bad_alloc&) {  // no room to remember it: give it back
    }
  }
  cudaFree(data);  // waits for the GPU
}

void gpu_release_unused() noexcept {
  trim_pool();
}

void copy_bytes(void* to, Place to_place, const void* from, Place from_place, size_t bytes) {
  if (to_place == Place::host && from_place == Place::host) {
    std::memcpy(to, from, bytes);
    return;
  }
  use_gpu_of_process();
  const cudaStream_t stream = taken().stream;
  // The driver copies small pageable memory by a detour.
  const bool small = bytes <= staging_bytes && to_place == Place::host;
  std::unique_lock<std::mutex> lock(staging_mutex(), std::defer_lock);
  if (small) lock.lock();
  void* target = small ? staging() : to;
  cuda_check(cudaMemcpyAsync(target, from, bytes, kind(to_place, from_place), stream), "copying");
  cuda_check(cudaStreamSynchronize(stream), "waiting for a copy");
  if (small) std::memcpy(to, target, bytes);
}

void copy_on_gpu(const Context& context, void* to, const void* from, size_t bytes) {
  cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, context.stream),
             "copying on it");
}

void synchronize(const Context& context) {
  if (context.backend == Backend::cpu) return;
  cuda_check(cudaStreamSynchronize(context.stream), "waiting for it");
}

WorkspaceLease::~WorkspaceLease() {
  if (kept_ == nullptr) return;
  auto* blocks = static_cast<Blocks*>(kept_);
  Pool& shared = pool();
  const std::lock_guard lock(shared.mutex);
  if (shared.leased == blocks) shared.leased = nullptr;
  for (auto& [size, list] : *blocks) {
    for (void* data : list) {
      try {
        shared.free[size].push_back(data);
      } catch (const std::bad_alloc&) {
        cudaFree(data);
      }
    }
  }
  delete blocks;
  book(Place::gpu, MemoryClass::workspace, -bytes_);
}

void WorkspaceLease::open() {
  Pool& shared = pool();
  const std::lock_guard lock(shared.mutex);
  expect(kept_ == nullptr && shared.leased == nullptr, "one workspace lease is open at a time");
  auto* blocks = new Blocks;
  kept_ = blocks;
  shared.leased = blocks;
}

void WorkspaceLease::close() {
  Pool& shared = pool();
  const std::lock_guard lock(shared.mutex);
  shared.leased = nullptr;
  for (const auto& [size, list] : *static_cast<Blocks*>(kept_)) {
    bytes_ += static_cast<int64_t>(size * list.size());
  }
  book(Place::gpu, MemoryClass::workspace, bytes_);
}

GpuTimer::GpuTimer(const Context& context) : stream_(context.stream) {
  cudaEvent_t begin = nullptr, end = nullptr;
  cuda_check(cudaEventCreate(&begin), "making an event");
  begin_ = begin;
  cuda_check(cudaEventCreate(&end), "making an event");
  end_ = end;
}

GpuTimer::~GpuTimer() {
  if (begin_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(begin_));
  if (end_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(end_));
}

void GpuTimer::start() {
  cuda_check(cudaEventRecord(static_cast<cudaEvent_t>(begin_), stream_), "recording an event");
}

double GpuTimer::stop() {
  cuda_check(cudaEventRecord(static_cast<cudaEvent_t>(end_), stream_), "recording an event");
  cuda_check(cudaEventSynchronize(static_cast<cudaEvent_t>(end_)), "waiting for an event");
  float milliseconds = 0;
  cuda_check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin_),
                                  static_cast<cudaEvent_t>(end_)),
             "timing");
  return milliseconds * 1e-3;
}

Graph::~Graph() {
  if (executable_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_));
}

Graph::Graph(Graph&& other) noexcept : executable_(std::exchange(other.executable_, nullptr)) {}

Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(executable_, other.executable_);
  return *this;
}

// Relaxed: an op may still allocate its scratch for the first time while it is recorded.
void Graph::begin_capture(const Context& context) {
  cuda_check(cudaStreamBeginCapture(context.stream, cudaStreamCaptureModeRelaxed),
             "starting to record a graph");
}

void Graph::drop_capture(const Context& context) noexcept {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(context.stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::end_capture(const Context& context) {
  cudaGraph_t graph = nullptr;
  cuda_check(cudaStreamEndCapture(context.stream, &graph), "recording a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  cuda_check(code, "preparing a graph");
  *this = Graph();
  executable_ = executable;
}

void Graph::launch(const Context& context) const {
  cuda_check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), context.stream),
             "launching a graph");
}

}  // namespace qsweep::device
