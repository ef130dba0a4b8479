#include "record/read_ahead.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/files.hpp"
#include "record/record.hpp"
#include "record/seal.hpp"

namespace qsweep::record {
namespace {

namespace fs = std::filesystem;

// More than a node needs for hashing, since a parallel file system answers an open in about a
// millisecond and many of them at once.
constexpr size_t most_threads = 16;
constexpr size_t window = 4 * most_threads;     // files read and not yet taken
constexpr uint64_t budget = uint64_t{1} << 28;  // their bytes; the next one to take may exceed it

SealedFile read_sealed(const fs::path& file) {
  SealedFile sealed;
  try {
    std::optional<std::string> bytes = read_file_if_there(file, max_run_bytes);
    sealed.there = bytes.has_value();
    if (!bytes) return sealed;
    const size_t size = unseal(*bytes, file.string()).size();
    sealed.bytes = std::move(*bytes);
    sealed.bytes.resize(size);
  } catch (const std::exception& error) {
    sealed.there = true;
    sealed.problem = error.what();
  }
  return sealed;
}

class ReadAhead {
 public:
  explicit ReadAhead(const std::vector<fs::path>& files) : files_(files) {
    for (size_t t = 0; t < std::min(most_threads, files.size()); ++t)
      threads_.emplace_back([this] { work(); });
  }
  ~ReadAhead() {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    room_.notify_all();
  }  // the threads, declared last, are joined first
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  SealedFile take() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return ready_.contains(taken_); });
    auto [file, size] = std::move(ready_.extract(taken_).mapped());
    ++taken_;
    bytes_ -= size;
    room_.notify_all();
    return std::move(file);
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      room_.wait(lock, [this] { return stopped_ || claimed_ < taken_ + window; });
      if (stopped_ || claimed_ == files_.size()) return;
      const size_t i = claimed_++;
      lock.unlock();
      std::error_code none;
      const uintmax_t found = fs::file_size(files_[i], none);
      const uint64_t size = none ? 0 : std::min<uint64_t>(found, max_run_bytes);
      lock.lock();
      room_.wait(lock, [&] { return stopped_ || i == taken_ || bytes_ + size <= budget; });
      if (stopped_) return;
      bytes_ += size;
      lock.unlock();
      SealedFile file = read_sealed(files_[i]);
      lock.lock();
      ready_.emplace(i, std::pair(std::move(file), size));
      if (i == taken_) arrived_.notify_one();
    }
  }

  const std::vector<fs::path>& files_;
  std::mutex mutex_;
  std::condition_variable arrived_;                          // the file that the caller waits for
  std::condition_variable room_;                             // for another file, or the end
  std::map<size_t, std::pair<SealedFile, uint64_t>> ready_;  // file -> content, counted bytes
  size_t claimed_ = 0, taken_ = 0;
  uint64_t bytes_ = 0;
  bool stopped_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace

void read_ahead(const std::vector<fs::path>& files,
                const std::function<void(size_t, SealedFile)>& take) {
  ReadAhead ahead(files);
  for (size_t i = 0; i < files.size(); ++i) take(i, ahead.take());
}

}  // namespace qsweep::record
