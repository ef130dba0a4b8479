// A build without CUDA: nothing is pinned and nothing goes to a GPU.
#include <utility>

#include "base/error.hpp"
#include "device/pinned.hpp"
#include "device/upload.hpp"

namespace qsweep::device {
namespace {

[[noreturn]] void refuse() {
  throw Error(ErrorKind::unavailable, "nothing can be copied to a GPU",
              "this build has no CUDA backend", "build with the cuda preset, or use --backend cpu");
}

}  // namespace

void* pin_memory(size_t) {
  refuse();
}
void unpin_memory(void*, size_t) noexcept {}

PinnedPiece::PinnedPiece() {
  refuse();
}
PinnedPiece::~PinnedPiece() {
  data_ = nullptr;
}
PinnedPiece::PinnedPiece(PinnedPiece&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)) {}
PinnedPiece& PinnedPiece::operator=(PinnedPiece&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}

struct Upload::Shared {};

Upload::Upload(const Context&, int) {}
Upload::~Upload() = default;
void Upload::add(void*, std::span<const std::byte>) {
  refuse();
}
void Upload::wait() {}
uint64_t Upload::bytes() const {
  return 0;
}
double Upload::seconds() const {
  return 0;
}
double pinned_copy_rate(const Context&) {
  refuse();
}

}  // namespace qsweep::device
