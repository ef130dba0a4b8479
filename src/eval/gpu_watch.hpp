// What a record says of the GPU: which one, its clocks and throttle reasons before and after the
// run. On the CPU backend all of it is empty.
#pragma once

#include <optional>

#include "device/context.hpp"
#include "device/nvml.hpp"
#include "record/record.hpp"

namespace qsweep::eval {

class GpuWatch {
 public:
  explicit GpuWatch(const device::Context& context);
  void finish(record::RunRecord& record) const;

 private:
  bool on_gpu_;
  device::GpuReading before_;
};

// The GPU's energy counter now; nothing where there is none.
std::optional<double> energy_j(const device::Context& context);

}  // namespace qsweep::eval
