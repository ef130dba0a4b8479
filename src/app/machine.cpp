#include "app/machine.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.hpp"

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

device::Context make_context(const std::string& backend, const std::string& compute, int threads) {
  device::Context context;
  if (backend == "cuda") {
    throw Error(ErrorKind::gpu_guard, "no GPU can be used", "this build has no CUDA backend",
                "use --backend cpu, or a build with the cuda preset on a GPU node");
  }
  if (backend != "auto" && backend != "cpu") {
    throw_invalid("unknown backend '" + backend + "'", "known are auto, cpu, cuda");
  }
  if (threads < 1 || threads > max_threads) {
    throw_invalid("cannot use " + std::to_string(threads) + " threads",
                  "1 to " + std::to_string(max_threads), "choose another --threads");
  }
  const auto type = parse_name<device::Compute>(compute);
  if (!type) throw_invalid("unknown compute type '" + compute + "'", "known are fp32, bf16");
  context.compute = *type;
  context.threads = threads;
  return context;
}

}  // namespace qsweep::app
