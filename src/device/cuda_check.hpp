// Turns the return codes of the CUDA runtime into qsweep::Error; only sources of CUDA builds
// include it.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "base/error.hpp"

namespace qsweep::device {

// Out of memory is a resource of the run; anything else is a fault of the program or the machine.
inline void cuda_check(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  const bool memory = code == cudaErrorMemoryAllocation;
  throw Error(memory ? ErrorKind::resource : ErrorKind::internal,
              memory ? "out of GPU memory" : std::string("the GPU refused: ") + what,
              std::string(cudaGetErrorName(code)) + ", " + cudaGetErrorString(code),
              memory ? "use a smaller model or shorter lengths" : "");
}

}  // namespace qsweep::device
