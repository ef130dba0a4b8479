#include "model/activation_ranges.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.hpp"
#include "device/gpu.hpp"
#include "model/structure.hpp"
#include "quant/format/rtn.hpp"

namespace qsweep::model {
namespace {

// Takes inputs as an observer sees them. On a GPU each is copied to the host and looked at there,
// which takes longer than the forward pass itself; it happens once for all configs of a rank.
class Ranges {
 public:
  explicit Ranges(device::Place place) : place_(place) {}

  void add(const Linear& linear, const float* x, int64_t rows) {
    // q, k and v see one input, and gate and up; they come one after another.
    if (linear.layer != layer_ || x != x_) magnitude_ = magnitude_of(x, rows * linear.weight->cols);
    layer_ = linear.layer;
    x_ = x;
    uint32_t& largest = largest_[linear.name];
    largest = std::max(largest, magnitude_);
  }

  ActivationRanges finish() const {
    ActivationRanges ranges;
    for (const auto& [linear, magnitude] : largest_) {
      const auto absmax = std::bit_cast<float>(magnitude);
      if (!std::isfinite(absmax)) {
        throw_invalid("the input of '" + linear + "' is not finite",
                      "no scale can hold it, and the calibration text was read by the unquantized "
                      "model");
      }
      ranges[linear] = std::max(absmax, quant::format::smallest_range);
    }
    return ranges;
  }

 private:
  // As a row's own (see magnitude_bits()).
  uint32_t magnitude_of(const float* x, int64_t count) {
    if (place_ == device::Place::gpu) {
      host_.resize(static_cast<size_t>(count));
      device::copy_bytes(host_.data(), device::Place::host, x, place_,
                         host_.size() * sizeof(float));
      x = host_.data();
    }
    uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t magnitude = quant::format::magnitude_bits(x[i]);
      largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
  }

  device::Place place_;
  std::map<std::string, uint32_t> largest_;  // by linear
  std::vector<float> host_;
  int64_t layer_ = -2;  // of the input that was looked at last; no layer's before the first
  const float* x_ = nullptr;
  uint32_t magnitude_ = 0;
};

}  // namespace

ActivationRanges measure_activation_ranges(const device::Context& context, Model& model,
                                           std::span<const std::span<const int32_t>> sequences,
                                           const std::function<void()>& check_stop) {
  Ranges ranges(context.place());
  const LinearObserver observer = [&](const Linear& linear, const float* x, int64_t rows) {
    ranges.add(linear, x, rows);
  };
  for (const std::span<const int32_t> tokens : sequences) {
    check_stop();
    const auto state = make_state(model, static_cast<int64_t>(tokens.size()));
    const Chunk chunk{state.get(), tokens};
    const Matrix hidden = forward(context, model, {&chunk, 1}, &observer);
    // What logits() would show the observer; its product is not wanted.
    ranges.add(model.head, hidden.data(), hidden.rows);
  }
  return ranges.finish();
}

}  // namespace qsweep::model
