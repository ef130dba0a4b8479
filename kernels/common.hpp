// What every op does at its entry: choose the backend, count the kernel, round what it stores.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/half.hpp"
#include "device/context.hpp"

namespace qsweep::kernels {

inline bool on_gpu(const device::Context& context) {
  return context.backend == device::Backend::cuda;
}

inline void count(const device::Context& context, std::string_view kernel) {
  if (context.calls != nullptr) context.calls->count(kernel);
}

// A value as the activation type holds it.
QSWEEP_HD inline float stored(device::Compute compute, float value) {
  return compute == device::Compute::bf16 ? bf16_to_float(float_to_bf16(value)) : value;
}

inline int threads_of(const device::Context& context) {
  return context.threads > 1 ? context.threads : 1;
}

QSWEEP_HD inline int64_t tiles(int64_t count, int64_t tile) {
  return (count + tile - 1) / tile;
}

}  // namespace qsweep::kernels
