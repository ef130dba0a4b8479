#include "device/buffer.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

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

constexpr size_t cache_line = 64, huge_page = size_t{2} << 20;

// Weights are read end to end once a token, and with 4 KB pages a core waits for the page table:
// the whole huge pages of a large buffer are asked for as such. Nothing is padded to their size, so
// the books stay exact.
std::byte* allocate(size_t bytes) {
  const bool large = bytes >= 2 * huge_page;
  void* data = nullptr;
  if (posix_memalign(&data, large ? huge_page : cache_line, bytes) != 0) return nullptr;
#if defined(__linux__)
  if (large) madvise(data, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish, may be refused
#endif
  return static_cast<std::byte*>(data);
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
  data_ = allocate(bytes);
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
