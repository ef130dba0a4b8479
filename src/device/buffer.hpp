// Memory with exact accounting: every byte the engine holds lies in one place (host or GPU) and
// belongs to one class, and the peak of each phase (prefill, decode) can be read apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qsweep::device {

enum class MemoryClass { weights, state, workspace };
inline constexpr size_t memory_classes = 3;

enum class Place { host, gpu };
inline constexpr size_t places = 2;

struct MemoryUsage {  // bytes, indexed by MemoryClass; summed over this process, one place
  std::array<uint64_t, memory_classes> current{};
  uint64_t peak_total = 0;  // highest sum of all classes since the last reset_peak()
  uint64_t total() const { return current[0] + current[1] + current[2]; }
};

MemoryUsage memory_usage(Place place = Place::host);
void reset_peak();  // of both places
// For owners of memory that is no Buffer.
void book(Place place, MemoryClass memory_class, int64_t bytes);

// Owns `bytes` of uninitialised memory, aligned to 64 bytes (host) or 256 (GPU). Movable only.
// Throws Error{resource} where there is no more. A GPU buffer is followed by readable padding, so
// that kernels may load whole words at its end; the padding is not booked. Freed GPU workspace is
// kept for the next buffer of its size, so that a decode step allocates nothing; what is kept but
// not used is not booked either.
class Buffer {
 public:
  Buffer() = default;
  Buffer(size_t bytes, MemoryClass memory_class, Place place = Place::host);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  Place place() const noexcept { return place_; }
  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  template <class T>
  T* as() noexcept {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const noexcept {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  MemoryClass class_ = MemoryClass::workspace;
  Place place_ = Place::host;
};

// The same bytes in the other place, or a second copy in the same one.
Buffer copy_of(const Buffer& buffer, MemoryClass memory_class, Place place);

}  // namespace qsweep::device
