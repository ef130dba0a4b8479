// What every op does at its entry: choose the backend, count the kernel, round what it stores.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.hpp"
#include "base/half.hpp"
#include "device/context.hpp"

namespace qsweep::kernels {

inline bool on_gpu(const device::Context& context) {
  return context.backend == device::Backend::cuda;
}

inline void count(const device::Context& context, std::string_view kernel) {
  if (context.calls != nullptr) context.calls->count(kernel);
}

// Books an op's time from here to the end of its scope, where the context has a profile.
class OpTimer {
 public:
  OpTimer(const device::Context& context, std::string_view op)
      : profile_(context.profile), op_(op) {
    if (profile_ != nullptr) watch_.emplace();
  }
  ~OpTimer() {
    if (profile_ != nullptr) profile_->add(op_, watch_->seconds());
  }
  OpTimer(const OpTimer&) = delete;
  OpTimer& operator=(const OpTimer&) = delete;

 private:
  device::OpProfile* profile_;
  std::string_view op_;
  std::optional<Stopwatch> watch_;
};

QSWEEP_HD inline float rounded(float value) {
  return bf16_to_float(float_to_bf16(value));
}

// A value as the activation type holds it.
QSWEEP_HD inline float stored(device::Compute compute, float value) {
  return compute == device::Compute::bf16 ? rounded(value) : value;
}

inline int threads_of(const device::Context& context) {
  return context.threads > 1 ? context.threads : 1;
}

QSWEEP_HD inline int64_t tiles(int64_t count, int64_t tile) {
  return (count + tile - 1) / tile;
}

}  // namespace qsweep::kernels
