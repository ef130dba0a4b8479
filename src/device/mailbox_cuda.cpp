#include "device/mailbox.hpp"

#include "device/cuda_check.hpp"
#include "device/pinned.hpp"

namespace qsweep::device {
namespace {

constexpr size_t mailbox_bytes = Mailbox::slots * sizeof(int32_t);

cudaEvent_t event_of(void* mark) {
  return static_cast<cudaEvent_t>(mark);
}

}  // namespace

Mailbox::Mailbox() {
  data_ = static_cast<int32_t*>(pin_memory(mailbox_bytes));
  try {
    for (void*& mark : marks_) {
      cudaEvent_t event = nullptr;
      cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
      mark = event;
    }
  } catch (...) {
    release();
    throw;
  }
}

Mailbox::~Mailbox() {
  release();
}

void Mailbox::release() noexcept {
  for (void* mark : marks_) {
    if (mark == nullptr) continue;
    cudaEventSynchronize(event_of(mark));
    cudaEventDestroy(event_of(mark));
  }
  unpin_memory(data_, mailbox_bytes);
}

void Mailbox::mark(const Context& context, int64_t turn) {
  cuda_check(cudaEventRecord(event_of(marks_[static_cast<size_t>(turn % slots)]), context.stream),
             "recording an event");
}

int32_t Mailbox::wait(int64_t turn) {
  const auto slot = static_cast<size_t>(turn % slots);
  cuda_check(cudaEventSynchronize(event_of(marks_[slot])), "waiting for an event");
  return *static_cast<volatile int32_t*>(data_ + slot);
}

}  // namespace qsweep::device
