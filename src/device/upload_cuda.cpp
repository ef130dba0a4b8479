#include "device/upload.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "device/cuda_check.hpp"
#include "device/gpu.hpp"
#include "device/pinned.hpp"

namespace qsweep::device {
namespace {

// Never destroyed: the driver may be gone before static storage is.
struct PinnedPool {
  std::mutex mutex;
  std::vector<std::byte*> free;
};
PinnedPool& pinned_pool() {
  static auto* pool = new PinnedPool;
  return *pool;
}

struct Chunk {
  std::byte* to;
  const std::byte* from;
  size_t bytes;
};

// Page tables of a mapped file are filled in one call instead of a fault every 64 KB. A wish: older
// kernels do not know it, and what cannot be read says so where it is read.
void populate([[maybe_unused]] const Chunk& chunk) {
#ifdef MADV_POPULATE_READ
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t before = reinterpret_cast<uintptr_t>(chunk.from) % page;
  madvise(const_cast<std::byte*>(chunk.from - before), before + chunk.bytes, MADV_POPULATE_READ);
#endif
}

// A stream, and pinned pieces that are filled in turn.
class Reader {
 public:
  Reader() {
    use_gpu_of_process();
    cuda_check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
    for (Turn& turn : turns_) {
      cuda_check(cudaEventCreateWithFlags(&turn.copied, cudaEventDisableTiming), "making an event");
    }
  }
  ~Reader() {
    if (stream_ != nullptr) cudaStreamSynchronize(stream_);  // pieces are still being read
    for (Turn& turn : turns_) {
      if (turn.copied != nullptr) cudaEventDestroy(turn.copied);
    }
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  void copy(const Chunk& chunk) {
    Turn& turn = turns_[next_];
    next_ = (next_ + 1) % turns_.size();
    populate(chunk);
    cuda_check(cudaEventSynchronize(turn.copied), "waiting for a copy");
    std::memcpy(turn.piece.data(), chunk.from, chunk.bytes);
    cuda_check(
        cudaMemcpyAsync(chunk.to, turn.piece.data(), chunk.bytes, cudaMemcpyHostToDevice, stream_),
        "copying to it");
    cuda_check(cudaEventRecord(turn.copied, stream_), "recording an event");
  }
  void finish() { cuda_check(cudaStreamSynchronize(stream_), "waiting for a copy"); }

 private:
  struct Turn {
    PinnedPiece piece;
    cudaEvent_t copied = nullptr;
  };
  cudaStream_t stream_ = nullptr;
  std::array<Turn, 2> turns_;
  size_t next_ = 0;
};

}  // namespace

void* pin_memory(size_t bytes) {
  use_gpu_of_process();
  void* data = nullptr;
  if (cudaMallocHost(&data, bytes) != cudaSuccess) {
    cudaGetLastError();
    throw Error(ErrorKind::resource, "out of memory",
                std::to_string(bytes) + " bytes of pinned memory were asked for",
                "raise the limit of locked memory, or free some");
  }
  book(Place::host, MemoryClass::workspace, static_cast<int64_t>(bytes));
  return data;
}

void unpin_memory(void* data, size_t bytes) noexcept {
  cudaFreeHost(data);
  book(Place::host, MemoryClass::workspace, -static_cast<int64_t>(bytes));
}

PinnedPiece::PinnedPiece() {
  PinnedPool& pool = pinned_pool();
  {
    const std::lock_guard lock(pool.mutex);
    if (!pool.free.empty()) {
      data_ = pool.free.back();
      pool.free.pop_back();
      return;
    }
  }
  data_ = static_cast<std::byte*>(pin_memory(bytes));
}

PinnedPiece::~PinnedPiece() {
  if (data_ == nullptr) return;
  try {
    PinnedPool& pool = pinned_pool();
    const std::lock_guard lock(pool.mutex);
    pool.free.push_back(data_);
  } catch (const std::bad_alloc&) {  // no room to remember it: give it back
    unpin_memory(data_, bytes);
  }
}

PinnedPiece::PinnedPiece(PinnedPiece&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)) {}

PinnedPiece& PinnedPiece::operator=(PinnedPiece&& other) noexcept {
  std::swap(data_, other.data_);
  return *this;
}

struct Upload::Shared {
  int most_threads = 1;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Chunk> queue;
  size_t unfinished = 0;  // chunks in the queue or at a reader that has not finished them
  std::exception_ptr failure;
  bool ending = false;
  uint64_t bytes = 0;
  double seconds = 0;
  std::optional<Stopwatch> watch;
  std::vector<std::jthread> readers;

  // Nothing where there is no more to read, now (`wait` false) or ever.
  std::optional<Chunk> take(bool wait) {
    std::unique_lock lock(mutex);
    if (wait) changed.wait(lock, [&] { return ending || !queue.empty(); });
    if (queue.empty()) return std::nullopt;
    const Chunk chunk = queue.front();
    queue.pop_front();
    return chunk;
  }
  void finished(size_t chunks) {
    const std::lock_guard lock(mutex);
    unfinished -= chunks;
    if (unfinished == 0) changed.notify_all();
  }
  // The chunks that this reader took and those still in the queue are given up.
  void fail(size_t taken) {
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::current_exception();
    unfinished -= taken + queue.size();
    queue.clear();
    changed.notify_all();
  }

  void read() {
    std::optional<Reader> reader;
    for (;;) {
      std::optional<Chunk> chunk = take(true);
      if (!chunk) return;
      size_t taken = 1;
      try {
        if (!reader) reader.emplace();
        for (;;) {
          reader->copy(*chunk);
          chunk = take(false);
          if (!chunk) break;
          ++taken;
        }
        reader->finish();
      } catch (...) {
        fail(taken);
        continue;
      }
      finished(taken);
    }
  }
};

Upload::Upload(const Context&, int threads) : shared_(std::make_unique<Shared>()) {
  // Each has two pinned pieces; more readers than this only wait for the bus.
  constexpr int most_readers = 16;
  shared_->most_threads = std::clamp(threads, 1, most_readers);
}

Upload::~Upload() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->ending = true;
    shared_->queue.clear();
    shared_->changed.notify_all();
  }
  shared_->readers.clear();  // joins
}

void Upload::add(void* to, std::span<const std::byte> from) {
  Shared& shared = *shared_;
  const std::lock_guard lock(shared.mutex);
  if (!shared.watch) shared.watch.emplace();
  auto* target = static_cast<std::byte*>(to);
  for (size_t at = 0; at < from.size(); at += PinnedPiece::bytes) {
    const size_t n = std::min(PinnedPiece::bytes, from.size() - at);
    shared.queue.push_back({target + at, from.data() + at, n});
    ++shared.unfinished;
    if (static_cast<int>(shared.readers.size()) < shared.most_threads) {
      shared.readers.emplace_back([&shared] { shared.read(); });
    }
  }
  shared.bytes += from.size();
  shared.changed.notify_all();
}

void Upload::wait() {
  Shared& shared = *shared_;
  std::unique_lock lock(shared.mutex);
  shared.changed.wait(lock, [&] { return shared.unfinished == 0; });
  if (shared.watch) shared.seconds = shared.watch->seconds();
  if (shared.failure) std::rethrow_exception(std::exchange(shared.failure, nullptr));
}

uint64_t Upload::bytes() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->bytes;
}

double Upload::seconds() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->seconds;
}

double pinned_copy_rate(const Context& context) {
  constexpr int pieces_at_once = 8, rounds = 8, repeats = 10;
  std::array<PinnedPiece, pieces_at_once> pieces;
  for (PinnedPiece& piece : pieces) std::memset(piece.data(), 1, PinnedPiece::bytes);
  Buffer target(PinnedPiece::bytes * pieces_at_once, MemoryClass::workspace, Place::gpu);
  GpuTimer timer(context);
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    timer.start();
    for (size_t i = 0; i < pieces_at_once * rounds; ++i) {
      const size_t slot = i % pieces_at_once;
      cuda_check(cudaMemcpyAsync(target.data() + slot * PinnedPiece::bytes, pieces[slot].data(),
                                 PinnedPiece::bytes, cudaMemcpyHostToDevice, context.stream),
                 "copying to it");
    }
    const double bytes = static_cast<double>(PinnedPiece::bytes) * pieces_at_once * rounds;
    best = std::max(best, bytes / timer.stop());
  }
  return best;
}

}  // namespace qsweep::device
