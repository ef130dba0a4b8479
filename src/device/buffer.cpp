#include "device/buffer.hpp"

#include <array>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "device/gpu.hpp"

namespace qsweep::device {
namespace {

struct Ledger {
  std::mutex mutex;
  std::array<MemoryUsage, places> usage;
};

Ledger& ledger() {
  static Ledger instance;
  return instance;
}

std::byte* allocate(size_t bytes, MemoryClass memory_class, Place place) {
  if (place == Place::gpu) {
    return static_cast<std::byte*>(gpu_allocate(bytes, memory_class == MemoryClass::workspace));
  }
  const size_t padded = (bytes + 63) / 64 * 64;
  return padded < bytes ? nullptr : static_cast<std::byte*>(std::aligned_alloc(64, padded));
}

}  // namespace

void book(Place place, MemoryClass memory_class, int64_t bytes) {
  Ledger& book = ledger();
  const std::lock_guard lock(book.mutex);
  MemoryUsage& usage = book.usage[static_cast<size_t>(place)];
  usage.current[static_cast<size_t>(memory_class)] += static_cast<uint64_t>(bytes);
  if (usage.total() > usage.peak_total) usage.peak_total = usage.total();
}

MemoryUsage memory_usage(Place place) {
  const std::lock_guard lock(ledger().mutex);
  return ledger().usage[static_cast<size_t>(place)];
}

void reset_peak() {
  const std::lock_guard lock(ledger().mutex);
  for (MemoryUsage& usage : ledger().usage) usage.peak_total = usage.total();
}

Buffer::Buffer(size_t bytes, MemoryClass memory_class, Place place)
    : size_(bytes), class_(memory_class), place_(place) {
  if (bytes == 0) return;
  data_ = allocate(bytes, memory_class, place);
  if (data_ == nullptr) {
    throw Error(ErrorKind::resource, place == Place::gpu ? "out of GPU memory" : "out of memory",
                std::to_string(bytes) + " bytes were asked for",
                "use a smaller model or shorter lengths");
  }
  book(place_, class_, static_cast<int64_t>(size_));
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  book(place_, class_, -static_cast<int64_t>(size_));
  if (place_ == Place::gpu) {
    gpu_free(data_, size_, class_ == MemoryClass::workspace);
  } else {
    std::free(data_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      class_(other.class_),
      place_(other.place_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(class_, other.class_);
  std::swap(place_, other.place_);
  return *this;
}

Buffer copy_of(const Buffer& buffer, MemoryClass memory_class, Place place) {
  Buffer copy(buffer.size(), memory_class, place);
  if (copy.size() > 0) {
    copy_bytes(copy.data(), place, buffer.data(), buffer.place(), buffer.size());
  }
  return copy;
}

}  // namespace qsweep::device
