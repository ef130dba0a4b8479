// Memory with exact accounting: every byte the engine holds belongs to one class, and the peak of
// each phase (prefill, decode) can be read apart. Host memory here; device memory joins behind the
// same type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace qsweep::device {

enum class MemoryClass { weights, state, workspace };
inline constexpr size_t memory_classes = 3;

struct MemoryUsage {  // bytes, indexed by MemoryClass; summed over this process
  std::array<uint64_t, memory_classes> current{};
  uint64_t peak_total = 0;  // highest sum of all classes since the last reset_peak()
  uint64_t total() const { return current[0] + current[1] + current[2]; }
};

MemoryUsage memory_usage();
void reset_peak();

// Owns `bytes` of 64-byte aligned, uninitialised memory. Movable only.
// Throws Error{resource} where the system has no more.
class Buffer {
 public:
  Buffer() = default;
  Buffer(size_t bytes, MemoryClass memory_class);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
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
};

}  // namespace qsweep::device
