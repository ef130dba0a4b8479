// What the driver's management library tells of the process's GPU: energy, clocks, throttling.
// The library is opened at run time; where it is missing every reading is absent, never zero.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace qsweep::device {

struct GpuReading {
  std::optional<double> energy_j;  // total of the GPU since the driver was loaded
  std::optional<int> sm_mhz, memory_mhz, temperature_c;
  std::optional<double> power_w;
  std::optional<uint64_t> throttle;  // NVML's bit mask of reasons
};

// Of the GPU with this UUID ("GPU-..."); empty readings where it is not found.
GpuReading read_gpu(const std::string& uuid);
// "hw_thermal_slowdown, sw_power_cap"; idle and application clocks are no throttling: "none".
std::string throttle_text(uint64_t reasons);
std::string nvml_driver_version();  // or empty

}  // namespace qsweep::device
