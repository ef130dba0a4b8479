#include "device/nvml.hpp"

#include <dlfcn.h>

#include <array>
#include <string_view>
#include <utility>

namespace qsweep::device {
namespace {

// The part of NVML's stable C interface that is used; its header is not everywhere that its
// library is.
using Handle = struct NvmlDevice*;
constexpr int success = 0;
constexpr int clock_sm = 1, clock_memory = 2, sensor_gpu = 0;

struct Library {
  int (*init)() = nullptr;
  int (*by_uuid)(const char*, Handle*) = nullptr;
  int (*energy)(Handle, unsigned long long*) = nullptr;
  int (*clock)(Handle, int, unsigned*) = nullptr;
  int (*temperature)(Handle, int, unsigned*) = nullptr;
  int (*power)(Handle, unsigned*) = nullptr;
  int (*reasons)(Handle, unsigned long long*) = nullptr;
  int (*driver)(char*, unsigned) = nullptr;
  bool ready = false;

  Library() {
    void* file = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (file == nullptr) return;
    load(file, "nvmlInit_v2", init);
    load(file, "nvmlDeviceGetHandleByUUID", by_uuid);
    load(file, "nvmlDeviceGetTotalEnergyConsumption", energy);
    load(file, "nvmlDeviceGetClockInfo", clock);
    load(file, "nvmlDeviceGetTemperature", temperature);
    load(file, "nvmlDeviceGetPowerUsage", power);
    load(file, "nvmlDeviceGetCurrentClocksThrottleReasons", reasons);
    load(file, "nvmlSystemGetDriverVersion", driver);
    ready = init != nullptr && by_uuid != nullptr && init() == success;
  }
  template <class Function>
  static void load(void* file, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(file, name));
  }
};

const Library& library() {
  static const Library instance;
  return instance;
}

// A reading through f(handle, &value), or nothing.
template <class Raw, class Value, class Function, class... Arguments>
void read(Function function, Handle device, std::optional<Value>& value, double unit,
          Arguments... arguments) {
  Raw raw{};
  if (function == nullptr || function(device, arguments..., &raw) != success) return;
  value = static_cast<Value>(static_cast<double>(raw) * unit);
}

}  // namespace

GpuReading read_gpu(const std::string& uuid) {
  GpuReading reading;
  const Library& nvml = library();
  Handle device = nullptr;
  if (!nvml.ready || nvml.by_uuid(uuid.c_str(), &device) != success) return reading;
  read<unsigned long long>(nvml.energy, device, reading.energy_j, 1e-3);  // counts millijoules
  read<unsigned>(nvml.clock, device, reading.sm_mhz, 1, clock_sm);
  read<unsigned>(nvml.clock, device, reading.memory_mhz, 1, clock_memory);
  read<unsigned>(nvml.temperature, device, reading.temperature_c, 1, sensor_gpu);
  read<unsigned>(nvml.power, device, reading.power_w, 1e-3);
  unsigned long long reasons = 0;
  if (nvml.reasons != nullptr && nvml.reasons(device, &reasons) == success) {
    reading.throttle = reasons;
  }
  return reading;
}

std::string throttle_text(uint64_t reasons) {
  constexpr auto names =
      std::to_array<std::pair<uint64_t, std::string_view>>({{0x04, "sw_power_cap"},
                                                            {0x08, "hw_slowdown"},
                                                            {0x10, "sync_boost"},
                                                            {0x20, "sw_thermal_slowdown"},
                                                            {0x40, "hw_thermal_slowdown"},
                                                            {0x80, "hw_power_brake"},
                                                            {0x100, "display_clock_setting"}});
  std::string text;
  for (const auto& [bit, name] : names) {
    if ((reasons & bit) == 0) continue;
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text.empty() ? "none" : text;
}

std::string nvml_driver_version() {
  const Library& nvml = library();
  std::array<char, 96> text{};
  if (!nvml.ready || nvml.driver == nullptr) return "";
  if (nvml.driver(text.data(), static_cast<unsigned>(text.size())) != success) return "";
  return text.data();
}

}  // namespace qsweep::device
