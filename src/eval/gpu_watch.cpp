#include "eval/gpu_watch.hpp"

#include <string>

#include "device/gpu.hpp"

namespace qsweep::eval {
namespace {

std::string clocks_text(const device::GpuReading& reading) {
  const auto text = [](const std::optional<int>& mhz) {
    return mhz ? std::to_string(*mhz) : std::string("?");
  };
  return "SM " + text(reading.sm_mhz) + " MHz, memory " + text(reading.memory_mhz) + " MHz";
}

}  // namespace

GpuWatch::GpuWatch(const device::Context& context)
    : on_gpu_(context.backend == device::Backend::cuda) {
  if (on_gpu_) before_ = device::read_gpu(device::gpu_info().uuid);
}

void GpuWatch::finish(record::RunRecord& record) const {
  if (!on_gpu_) return;
  const device::GpuInfo& gpu = device::gpu_info();
  record.set("gpu_name", gpu.name);
  record.set("gpu_uuid", gpu.uuid);
  record.set("driver", gpu.driver);
  record.set("cuda", gpu.runtime);
  const device::GpuReading after = device::read_gpu(gpu.uuid);
  if (before_.sm_mhz || after.sm_mhz) {
    record.set("clocks", clocks_text(before_) + " -> " + clocks_text(after));
  }
  if (before_.throttle || after.throttle) {
    record.set("throttle_reasons",
               device::throttle_text(before_.throttle.value_or(0) | after.throttle.value_or(0)));
  }
}

std::optional<double> energy_j(const device::Context& context) {
  if (context.backend != device::Backend::cuda) return std::nullopt;
  return device::read_gpu(device::gpu_info().uuid).energy_j;
}

}  // namespace qsweep::eval
