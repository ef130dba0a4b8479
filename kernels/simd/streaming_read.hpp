// The fastest way to read memory once that this project knows: the yardstick of what a
// memory-bound kernel reaches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace qsweep::kernels {

// Sum of the whole 256-byte blocks as 8-byte words, so that no read can be dropped. data: 8-byte
// aligned.
uint64_t streaming_read(std::span<const std::byte> data);

}  // namespace qsweep::kernels
