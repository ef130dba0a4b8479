// Host memory that the GPU reaches: its copy engine at full speed, its kernels by the host's own
// addresses.
#pragma once

#include <cstddef>

namespace qsweep::device {

// Booked as workspace of the host. Throws Error{resource}, Error{unavailable} in a build without
// CUDA.
void* pin_memory(size_t bytes);
void unpin_memory(void* data, size_t bytes) noexcept;

// In pieces of one size. Pinning takes longer than a copy, so pieces are kept for the next taker as
// long as the process lives.
class PinnedPiece {
 public:
  static constexpr size_t bytes = size_t{4} << 20;
  PinnedPiece();  // throws Error{resource}, Error{unavailable} in a build without CUDA
  ~PinnedPiece();
  PinnedPiece(PinnedPiece&& other) noexcept;
  PinnedPiece& operator=(PinnedPiece&& other) noexcept;
  PinnedPiece(const PinnedPiece&) = delete;
  PinnedPiece& operator=(const PinnedPiece&) = delete;
  std::byte* data() noexcept { return data_; }

 private:
  std::byte* data_ = nullptr;
};

}  // namespace qsweep::device
