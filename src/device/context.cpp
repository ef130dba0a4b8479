#include "device/context.hpp"

namespace qsweep::device {

void KernelCalls::count(std::string_view kernel, uint64_t calls) {
  const auto found = calls_.find(kernel);
  if (found != calls_.end()) {
    found->second += calls;
  } else {
    calls_.emplace(std::string(kernel), calls);
  }
}

void OpProfile::add(std::string_view op, double seconds) {
  for (auto& [name, total] : ops_) {
    if (name == op) {
      total += seconds;
      return;
    }
  }
  ops_.emplace_back(op, seconds);
}

double OpProfile::seconds(std::string_view op) const {
  for (const auto& [name, total] : ops_) {
    if (name == op) return total;
  }
  return 0;
}

}  // namespace qsweep::device
