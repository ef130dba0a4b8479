// What the GPU tests share: a context on the GPU or a loud skip, and arrays that go there and back.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "base/half.hpp"
#include "device/gpu.hpp"
#include "quant/format/format.hpp"
#include "unit/kernels/numbers.hpp"

namespace qsweep::test {

#define QSWEEP_NEEDS_GPU()                                            \
  if (qsweep::device::gpu_count() == 0) {                             \
    GTEST_SKIP() << "needs a GPU: " << qsweep::device::gpu_problem(); \
  }

inline device::Context gpu_context(device::Compute compute = device::Compute::fp32) {
  device::Context context = device::open_gpu(0, 1, true);
  context.compute = compute;
  return context;
}

// Values of `host` in GPU memory.
template <class T>
class OnGpu {
 public:
  explicit OnGpu(const std::vector<T>& host)
      : count_(host.size()),
        buffer_(count_ * sizeof(T), device::MemoryClass::workspace, device::Place::gpu) {
    device::copy_bytes(buffer_.data(), device::Place::gpu, host.data(), device::Place::host,
                       count_ * sizeof(T));
  }
  T* data() { return buffer_.as<T>(); }
  std::vector<T> back() const {
    std::vector<T> host(count_);
    device::copy_bytes(host.data(), device::Place::host, buffer_.data(), device::Place::gpu,
                       count_ * sizeof(T));
    return host;
  }

 private:
  size_t count_;
  device::Buffer buffer_;
};

// A second packed matrix with the same bytes, on the GPU.
inline quant::PackedMatrix copy_on_gpu(const quant::PackedMatrix& host) {
  quant::PackedMatrix copy;
  copy.spec = host.spec;
  copy.rows = host.rows;
  copy.cols = host.cols;
  constexpr auto weights = device::MemoryClass::weights;
  copy.codes = device::copy_of(host.codes, weights, device::Place::gpu);
  copy.scales = device::copy_of(host.scales, weights, device::Place::gpu);
  copy.zeros = device::copy_of(host.zeros, weights, device::Place::gpu);
  return copy;
}

inline std::vector<float> rounded_to_bf16(std::vector<float> values) {
  for (float& value : values) value = bf16_to_float(float_to_bf16(value));
  return values;
}

inline constexpr double bf16_half_ulp = 0x1p-8;  // relative rounding error of one bf16 value

}  // namespace qsweep::test
