#include "app/machine.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.hpp"
#include "device/gpu.hpp"

namespace qsweep::app {
namespace {

constexpr int max_threads = 1024;

}  // namespace

int threads_of_rank(int local_ranks) {
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  // OpenMP lets a list stand there, one number for each level of nesting; the first one counts
  // here.
  if (wanted != nullptr && *wanted != '\0')
    return static_cast<int>(
        whole_number(std::string_view(wanted).substr(0, std::string_view(wanted).find(',')),
                     "OMP_NUM_THREADS", 1, max_threads));
  cpu_set_t set;
  CPU_ZERO(&set);
  const long online = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  long allowed = online;
  if (sched_getaffinity(0, sizeof set, &set) == 0) allowed = std::max(1, CPU_COUNT(&set));
  // A mask smaller than the node is the launcher's own division; the whole node is shared by its
  // ranks.
  if (allowed < online) return static_cast<int>(allowed);
  return static_cast<int>(std::max(1L, allowed / std::max(1, local_ranks)));
}

uint64_t physical_memory_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) *
         static_cast<uint64_t>(sysconf(_SC_PAGE_SIZE));
}

Engine resolve(const std::string& backend, const std::string& compute) {
  Engine engine;
  if (backend == "auto") {
    engine.backend = device::gpu_count() > 0 ? device::Backend::cuda : device::Backend::cpu;
  } else if (const auto named = parse_name<device::Backend>(backend)) {
    engine.backend = *named;
  } else {
    throw_invalid("unknown backend '" + backend + "'", "known are auto, cpu, cuda");
  }
  if (compute == "auto") {
    const bool gpu = engine.backend == device::Backend::cuda;
    engine.compute = gpu ? device::Compute::bf16 : device::Compute::fp32;
  } else if (const auto named = parse_name<device::Compute>(compute)) {
    engine.compute = *named;
  } else {
    throw_invalid("unknown compute type '" + compute + "'", "known are auto, fp32, bf16");
  }
  return engine;
}

device::Context make_context(const Engine& engine, int threads, const NodePlace& place) {
  if (threads < 1 || threads > max_threads) {
    throw_invalid("cannot use " + std::to_string(threads) + " threads",
                  "1 to " + std::to_string(max_threads), "choose another --threads");
  }
  device::Context context;
  if (engine.backend == device::Backend::cuda) {
    context = device::open_gpu(place.local_rank, place.local_ranks, place.allow_sharing);
  }
  context.compute = engine.compute;
  context.threads = threads;
  return context;
}

uint64_t resident_bytes(const Engine& engine, const NodePlace& place) {
  // Half of a node's memory: the other half is the page cache of the checkpoint. Of a GPU more may
  // be weights; caches and workspace take the rest.
  constexpr double host_share = 0.5, gpu_share = 0.7;
  if (engine.backend == device::Backend::cpu) {
    return static_cast<uint64_t>(host_share * static_cast<double>(physical_memory_bytes()) /
                                 place.local_ranks);
  }
  const int gpus = std::max(1, device::gpu_count());
  const int sharing = (place.local_ranks + gpus - 1) / gpus;
  return static_cast<uint64_t>(gpu_share * static_cast<double>(device::gpu_info().memory_bytes) /
                               sharing);
}

}  // namespace qsweep::app
