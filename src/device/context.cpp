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

}  // namespace qsweep::device
