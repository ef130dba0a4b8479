// Host memory to the GPU at nearly the rate of the bus: several threads bring the bytes (of a
// mapped file, say) into pinned pieces, and the copy engine fetches one piece of each while the
// next is filled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "device/context.hpp"

namespace qsweep::device {

class Upload {
 public:
  // `threads` may read at once. Starts none before there is something to read.
  Upload(const Context& context, int threads);
  // Drops what is not on its way yet and waits for the rest.
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // `to` [from.size()] lies on the GPU; both must stay where they are until wait() returns. Kernels
  // may read `to` after wait().
  void add(void* to, std::span<const std::byte> from);
  // Until all of it is there. Throws what stopped a copy, and drops the rest.
  void wait();

  uint64_t bytes() const;  // added so far
  double seconds() const;  // from the first add() to the end of the last wait(); 0 before it

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

// Best rate [byte/s] of copying pinned memory to the GPU, one piece after another.
double pinned_copy_rate(const Context& context);

}  // namespace qsweep::device
