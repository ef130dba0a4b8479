// Host memory that the GPU's copy engine reaches at full speed, in pieces of one size. Pinning
// takes longer than a copy, so pieces are kept for the next taker as long as the process lives.
#pragma once

#include <cstddef>

namespace qsweep::device {

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
