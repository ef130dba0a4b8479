// Numbers that kernels hand to the host while the stream goes on: host memory that the GPU reaches,
// in two slots that take turns, and a point of the stream for each.
#pragma once

#include <array>
#include <cstdint>

#include "device/context.hpp"

namespace qsweep::device {

class Mailbox {
 public:
  static constexpr int64_t slots = 2;
  Mailbox();   // throws Error{resource}; Error{unavailable} in a build without CUDA
  ~Mailbox();  // waits for what was marked
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  int32_t* data() noexcept { return data_; }  // [slots], for kernels
  // Behind the kernel that writes number `turn`, into slot turn % slots.
  void mark(const Context& context, int64_t turn);
  // That number, once the stream has come to its mark.
  int32_t wait(int64_t turn);

 private:
  void release() noexcept;
  int32_t* data_ = nullptr;
  std::array<void*, slots> marks_{};  // cudaEvent_t
};

}  // namespace qsweep::device
