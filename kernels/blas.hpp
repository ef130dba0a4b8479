// OpenBLAS as the kernels use it: always one thread, called from our own tiles, whose borders do
// not depend on the number of threads; so neither do the bits.
#pragma once

#include <cblas.h>

namespace qsweep::kernels {

inline void single_threaded_blas() {
  static const bool once = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  (void)once;
}

}  // namespace qsweep::kernels
