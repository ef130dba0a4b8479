#include "kernels/simd/streaming_read.hpp"

#include "base/per_isa.hpp"

namespace qsweep::kernels {

// 32 independent sums are four registers of the widest instruction set: bound by memory, not by
// additions.
QSWEEP_PER_ISA uint64_t streaming_read(std::span<const std::byte> data) {
  constexpr size_t chains = 32;
  const auto* words = reinterpret_cast<const uint64_t*>(data.data());
  const size_t count = data.size() / sizeof(uint64_t);
  uint64_t sums[chains] = {};
  for (size_t i = 0; i + chains <= count; i += chains) {
    for (size_t j = 0; j < chains; ++j) sums[j] += words[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace qsweep::kernels
