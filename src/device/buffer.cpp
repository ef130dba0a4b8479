#include "device/buffer.hpp"

#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "base/error.hpp"

namespace qsweep::device {
namespace {

struct Ledger {
  std::mutex mutex;
  MemoryUsage usage;
};

Ledger& ledger() {
  static Ledger instance;
  return instance;
}

void book(MemoryClass memory_class, int64_t bytes) {
  Ledger& book = ledger();
  const std::lock_guard lock(book.mutex);
  book.usage.current[static_cast<size_t>(memory_class)] += static_cast<uint64_t>(bytes);
  if (book.usage.total() > book.usage.peak_total) book.usage.peak_total = book.usage.total();
}

}  // namespace

MemoryUsage memory_usage() {
  const std::lock_guard lock(ledger().mutex);
  return ledger().usage;
}

void reset_peak() {
  const std::lock_guard lock(ledger().mutex);
  ledger().usage.peak_total = ledger().usage.total();
}

Buffer::Buffer(size_t bytes, MemoryClass memory_class) : size_(bytes), class_(memory_class) {
  if (bytes == 0) return;
  const size_t padded = (bytes + 63) / 64 * 64;
  data_ = padded < bytes ? nullptr : static_cast<std::byte*>(std::aligned_alloc(64, padded));
  if (data_ == nullptr) {
    throw Error(ErrorKind::resource, "out of memory",
                std::to_string(bytes) + " bytes were asked for",
                "use a smaller model or shorter lengths");
  }
  book(class_, static_cast<int64_t>(size_));
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  book(class_, -static_cast<int64_t>(size_));
  std::free(data_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      class_(other.class_) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(class_, other.class_);
  return *this;
}

}  // namespace qsweep::device
