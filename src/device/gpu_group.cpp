#include "device/gpu_group.hpp"

#include "base/error.hpp"

#ifndef QSWEEP_HAVE_NCCL

namespace qsweep::device {

struct GpuGroup::State {};

std::string GpuGroup::problem() {
  return "this build has no NCCL";
}
std::string GpuGroup::make_id() {
  throw Error(ErrorKind::unavailable, "the GPUs of a node cannot be joined", problem());
}
GpuGroup::GpuGroup(const Context&, const std::string&, int, int, double) {
  make_id();
}
GpuGroup::~GpuGroup() = default;
void GpuGroup::broadcast(std::span<const std::span<std::byte>>, int, double) {
  make_id();
}

}  // namespace qsweep::device

#else

#include <dlfcn.h>
#include <nccl.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "base/clock.hpp"
#include "device/cuda_check.hpp"
#include "device/gpu.hpp"

namespace qsweep::device {
namespace {

struct Library {
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) init = nullptr;
  decltype(&ncclCommGetAsyncError) async_error = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;
  decltype(&ncclCommFinalize) finalize = nullptr;
  decltype(&ncclCommDestroy) destroy = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;
  std::string problem;

  Library() {
    void* file = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (file == nullptr) {
      problem = "libnccl.so.2 is not found";
      return;
    }
    load(file, "ncclGetUniqueId", get_unique_id);
    load(file, "ncclCommInitRankConfig", init);
    load(file, "ncclCommGetAsyncError", async_error);
    load(file, "ncclBroadcast", broadcast);
    load(file, "ncclCommFinalize", finalize);
    load(file, "ncclCommDestroy", destroy);
    load(file, "ncclCommAbort", abort);
    load(file, "ncclGetErrorString", error_string);
  }
  template <class Function>
  void load(void* file, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(file, name));
    if (function == nullptr) problem = std::string("libnccl.so.2 has no ") + name;
  }
};

const Library& library() {
  static const Library instance;
  return instance;
}

[[noreturn]] void fail(const char* what, const std::string& why) {
  throw Error(ErrorKind::internal, std::string("the GPUs of this node: ") + what, why,
              "look for NCCL's own messages (NCCL_DEBUG=INFO), or let each rank read the weights: "
              "--load each");
}

std::string text_of(ncclResult_t code) {
  return library().error_string(code);
}

std::string hex_of(const ncclUniqueId& id) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (const char c : id.internal) {
    const auto byte = static_cast<unsigned char>(c);
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

ncclUniqueId id_of(const std::string& text) {
  ncclUniqueId id;
  expect(text.size() == 2 * sizeof id.internal, "an id is the one that make_id() gave");
  for (size_t i = 0; i < sizeof id.internal; ++i) {
    id.internal[i] = static_cast<char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

}  // namespace

struct GpuGroup::State {
  ncclComm_t comm = nullptr;
  cudaStream_t stream = nullptr;

  // Calls return before they are done: a peer that never comes would hold a thread that waits
  // inside the library for ever.
  void check(ncclResult_t code, const char* what) {
    if (code != ncclSuccess && code != ncclInProgress) give_up(what, text_of(code));
  }
  [[noreturn]] void give_up(const char* what, const std::string& why) {
    if (comm != nullptr) library().abort(comm);
    comm = nullptr;
    fail(what, why);
  }
  // Until done() says so; the library is asked for faults meanwhile.
  template <class Done>
  void wait(const char* what, double patience_s, Done done) {
    const Stopwatch watch;
    for (;;) {
      ncclResult_t state = ncclSuccess;
      check(library().async_error(comm, &state), what);
      check(state, what);
      if (state == ncclSuccess && done()) return;
      if (watch.seconds() > patience_s) {
        give_up(what, "not done after " + std::to_string(watch.seconds()) + " s");
      }
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  void wait(const char* what, double patience_s) {
    wait(what, patience_s, [] { return true; });
  }
  bool stream_done() {
    const cudaError_t code = cudaStreamQuery(stream);
    if (code == cudaErrorNotReady) return false;
    cuda_check(code, "receiving from another GPU");
    return true;
  }
};

std::string GpuGroup::problem() {
  return library().problem;
}

std::string GpuGroup::make_id() {
  if (!problem().empty()) {
    throw Error(ErrorKind::unavailable, "the GPUs of a node cannot be joined", problem());
  }
  ncclUniqueId id;
  const ncclResult_t code = library().get_unique_id(&id);
  if (code != ncclSuccess) fail("making an id", text_of(code));
  return hex_of(id);
}

GpuGroup::GpuGroup(const Context& context, const std::string& id, int rank, int ranks,
                   double patience_s)
    : state_(std::make_unique<State>()) {
  if (!problem().empty()) {
    throw Error(ErrorKind::unavailable, "the GPUs of a node cannot be joined", problem());
  }
  use_gpu_of_process();
  state_->stream = context.stream;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const char* what = "joining them";
  state_->check(library().init(&state_->comm, ranks, id_of(id), rank, &config), what);
  state_->wait(what, patience_s);
}

GpuGroup::~GpuGroup() {
  if (state_->comm == nullptr) return;
  constexpr double patience_s = 10;
  try {
    state_->check(library().finalize(state_->comm), "leaving");
    state_->wait("leaving", patience_s);
    library().destroy(state_->comm);
  } catch (const Error&) {  // given up; what was received is there all the same
    state_->comm = nullptr;
  }
}

void GpuGroup::broadcast(std::span<const std::span<std::byte>> pieces, int root,
                         double patience_s) {
  expect(state_->comm != nullptr, "a group that failed is not used again");
  use_gpu_of_process();
  const char* what = "handing on bytes";
  for (const std::span<std::byte> piece : pieces) {
    state_->check(library().broadcast(piece.data(), piece.data(), piece.size(), ncclChar, root,
                                      state_->comm, state_->stream),
                  what);
    state_->wait(what, patience_s);
  }
  state_->wait(what, patience_s, [&] { return state_->stream_done(); });
}

}  // namespace qsweep::device

#endif
