#include "sweep/base_weights.hpp"

#include <fmt/format.h>
#include <algorithm>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "device/gpu.hpp"
#include "device/gpu_group.hpp"

namespace qsweep::sweep {
namespace {

// NCCL needs half a second to start; the slowest bus hands on a gigabyte in a second.
constexpr double start_patience_s = 120, slowest_bytes_per_s = 5e8;

// Why this rank's node cannot broadcast, or empty.
std::string broadcast_problem(const comm::Communicator& communicator,
                              const device::Context& context) {
  if (context.backend != device::Backend::cuda) return "the weights lie on the CPU";
  const int gpus = device::gpu_count();
  if (communicator.local_size() > gpus) {
    return fmt::format("{} ranks of a node share {} GPU(s)", communicator.local_size(), gpus);
  }
  return communicator.local_size() > 1 ? device::GpuGroup::problem() : std::string();
}

// The same answer on all ranks.
bool broadcasts(const comm::Communicator& communicator, const device::Context& context,
                LoadMode mode) {
  const std::string problem = broadcast_problem(communicator, context);
  comm::coordinated(communicator, [&] {
    if (mode != LoadMode::broadcast || problem.empty()) return;
    throw_invalid("the weights cannot be broadcast", problem, "use --load each");
  });
  if (mode != LoadMode::automatic) return mode == LoadMode::broadcast;
  const bool shared = communicator.local_size() > 1;
  const auto answers = communicator.all_gather(!problem.empty() ? "cannot" : shared ? "gains" : "");
  return std::ranges::find(answers, "cannot") == answers.end() &&
         std::ranges::find(answers, "gains") != answers.end();
}

uint64_t total_bytes(const std::vector<std::span<std::byte>>& pieces) {
  uint64_t bytes = 0;
  for (const auto& piece : pieces) bytes += piece.size();
  return bytes;
}

}  // namespace

bool needs_weights(const Plan& plan, const std::set<size_t>& finished) {
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    if (!finished.contains(i) && eval::needs_model(plan.cells[plan.runs[i].cell].kind)) return true;
  }
  return false;
}

void load_baseline(const comm::Communicator& communicator, const device::Context& context,
                   LoadMode mode, Executor& executor,
                   const std::function<void(const std::string&)>& log) {
  if (!broadcasts(communicator, context, mode)) return;
  const int rank = communicator.local_rank(), ranks = communicator.local_size();
  std::vector<std::span<std::byte>> pieces;
  std::string id;
  // No rank begins to wait for another's GPU before all have what they need: a rank that fails
  // tells it here.
  comm::coordinated(communicator, [&] {
    pieces =
        executor.start_baseline(rank == 0 ? model::RawWeights::read : model::RawWeights::received);
    if (rank == 0 && ranks > 1) id = device::GpuGroup::make_id();
  });
  const auto ids = communicator.all_gather(id);
  const auto sizes =
      communicator.all_gather(fmt::format("{} {}", pieces.size(), total_bytes(pieces)));
  const auto leader = static_cast<size_t>(communicator.node_leader());
  comm::coordinated(communicator, [&] {
    if (ranks > 1) {
      expect(sizes[leader] == sizes[static_cast<size_t>(communicator.rank())],
             "the ranks of a node build the same baseline");
      const Stopwatch start;
      device::GpuGroup group(context, ids[leader], rank, ranks, start_patience_s);
      const double started = start.seconds();
      const auto bytes = static_cast<double>(total_bytes(pieces));
      const Stopwatch watch;
      group.broadcast(pieces, 0, start_patience_s + bytes / slowest_bytes_per_s);
      const double seconds = watch.seconds();
      log(fmt::format(
          "{:.3f} GB of weights {} {} GPUs in {:.3f} s ({:.1f} GB/s), after {:.3f} s of "
          "joining them",
          bytes * 1e-9, rank == 0 ? "handed on within" : "received among", ranks, seconds,
          bytes * 1e-9 / seconds, started));
    } else {
      log("one GPU on this node: its weights were read and handed to nobody");
    }
    executor.finish_baseline();
  });
}

}  // namespace qsweep::sweep
