// A build without CUDA: there is no GPU, and everything else says so.
#include <cstring>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "device/mailbox.hpp"

namespace qsweep::device {
namespace {

constexpr const char* reason = "this build has no CUDA backend";

[[noreturn]] void refuse() {
  throw Error(ErrorKind::unavailable, "no GPU can be used", reason,
              "build with the cuda preset, or use --backend cpu");
}

}  // namespace

bool built_with_cuda() {
  return false;
}

int gpu_count() {
  return 0;
}

std::string gpu_problem() {
  return reason;
}

Context open_gpu(int, int, bool) {
  throw Error(ErrorKind::gpu_guard, "no GPU can be used", reason,
              "use --backend cpu, or a build with the cuda preset on a GPU node");
}

void use_gpu_of_process() {
  refuse();
}

const GpuInfo& gpu_info() {
  static const GpuInfo none;
  return none;
}

void* gpu_allocate(size_t, bool) {
  refuse();
}

void gpu_free(void*, size_t, bool) noexcept {}
void gpu_release_unused() noexcept {}

void copy_bytes(void* to, Place to_place, const void* from, Place from_place, size_t bytes) {
  if (to_place == Place::gpu || from_place == Place::gpu) refuse();
  std::memcpy(to, from, bytes);
}

void copy_on_gpu(const Context&, void*, const void*, size_t) {
  refuse();
}

void synchronize(const Context&) {}

// Nothing was taken, so nothing is given back.
WorkspaceLease::~WorkspaceLease() {
  kept_ = nullptr;
}
void WorkspaceLease::open() {
  refuse();
}
void WorkspaceLease::close() {
  refuse();
}

GpuTimer::GpuTimer(const Context& context) : stream_(context.stream) {
  refuse();
}
GpuTimer::~GpuTimer() {
  begin_ = end_ = nullptr;
}
void GpuTimer::start() {
  refuse();
}
double GpuTimer::stop() {
  refuse();
}

Mailbox::Mailbox() {
  refuse();
}
Mailbox::~Mailbox() {
  release();
}
void Mailbox::release() noexcept {
  data_ = nullptr;
}
void Mailbox::mark(const Context&, int64_t) {
  refuse();
}
int32_t Mailbox::wait(int64_t) {
  refuse();
}

Graph::~Graph() {
  executable_ = nullptr;
}
Graph::Graph(Graph&&) noexcept {}
Graph& Graph::operator=(Graph&&) noexcept {
  return *this;
}
void Graph::launch(const Context&) const {
  refuse();
}
void Graph::begin_capture(const Context&) {
  refuse();
}
void Graph::drop_capture(const Context&) noexcept {}
void Graph::end_capture(const Context&) {
  refuse();
}

}  // namespace qsweep::device
