// The GPUs of a node's ranks, joined by NCCL, so that one rank's memory can be handed to the
// others. NCCL's library is opened at run time; without it, or in a build without its header,
// problem() says so. No call waits for a peer longer than its patience.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "device/context.hpp"

namespace qsweep::device {

class GpuGroup {
 public:
  // Why no group can be made, or empty.
  static std::string problem();
  // Names one group; one rank makes it and tells the others.
  static std::string make_id();

  // Collective. Each rank has a GPU of its own. Throws Error{unavailable} where there is a problem,
  // Error{internal} where the others do not come within `patience_s` or NCCL fails.
  GpuGroup(const Context& context, const std::string& id, int rank, int ranks, double patience_s);
  ~GpuGroup();
  GpuGroup(const GpuGroup&) = delete;
  GpuGroup& operator=(const GpuGroup&) = delete;

  // Collective: rank `root`'s bytes to all, piece by piece; the sizes are the same on all ranks.
  // Waits until they are there. After an error the group is of no use any more.
  void broadcast(std::span<const std::span<std::byte>> pieces, int root, double patience_s);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qsweep::device
