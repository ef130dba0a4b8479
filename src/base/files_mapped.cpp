// Files mapped read-only, and whose bytes an address belongs to; see files.hpp.
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>

#include "base/files.hpp"

namespace qsweep {
namespace {

// What is mapped now, in a fixed table that a signal handler can walk through. Files beyond its
// room are mapped all the same and only lack their name when one of them breaks.
class Mappings {
 public:
  struct Entry {
    const std::byte* data;
    size_t size;
    const char* name;
  };
  void add(const Entry& entry) {
    const std::lock_guard lock(mutex_);
    for (Slot& slot : slots_) {
      if (slot.data.load() != nullptr) continue;
      slot.size.store(entry.size);
      slot.name.store(entry.name);
      slot.data.store(entry.data);  // last: it makes the entry visible
      return;
    }
  }
  void remove(const std::byte* data) {
    const std::lock_guard lock(mutex_);
    for (Slot& slot : slots_) {
      if (slot.data.load() == data) slot.data.store(nullptr);
    }
  }
  const char* find(const std::byte* address) const noexcept {
    for (const Slot& slot : slots_) {
      const std::byte* begin = slot.data.load();
      if (begin != nullptr && address >= begin && address < begin + slot.size.load())
        return slot.name.load();
    }
    return nullptr;
  }

 private:
  struct Slot {
    std::atomic<const std::byte*> data{nullptr};
    std::atomic<size_t> size{0};
    std::atomic<const char*> name{nullptr};
  };
  std::mutex mutex_;
  std::array<Slot, 1024> slots_;
};

Mappings mappings;

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& file) : path_(file) {
  const RegularFile in(file);
  size_ = in.size();
  if (size_ == 0) return;
  void* mapping = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, in.descriptor(), 0);
  if (mapping == MAP_FAILED) throw_io("cannot map", file, errno);
  data_ = static_cast<const std::byte*>(mapping);
  mappings.add({data_, size_, path_.c_str()});
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  mappings.remove(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

const char* mapped_file_at(const void* address) noexcept {
  return mappings.find(static_cast<const std::byte*>(address));
}

}  // namespace qsweep
