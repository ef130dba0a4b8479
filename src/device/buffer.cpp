#include "device/buffer.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

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

constexpr size_t cache_line = 64, huge_page = size_t{2} << 20;

// Weights are read end to end once a token, and with 4 KB pages a core waits for the page table:
// the whole huge pages of a large buffer are asked for as such. Nothing is padded to their size, so
// the books stay exact.
std::byte* allocate_host(size_t bytes) {
  const bool large = bytes >= 2 * huge_page;
  void* data = nullptr;
  if (posix_memalign(&data, large ? huge_page : cache_line, bytes) != 0) return nullptr;
#if defined(__linux__)
  if (large) madvise(data, bytes / huge_page * huge_page, MADV_HUGEPAGE);  // a wish, may be refused
#endif
  return static_cast<std::byte*>(data);
}

std::byte* allocate(size_t bytes, MemoryClass memory_class, Place place) {
  if (place == Place::host) return allocate_host(bytes);
  return static_cast<std::byte*>(gpu_allocate(bytes, memory_class == MemoryClass::workspace));
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
