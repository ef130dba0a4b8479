// The terminal at which a person looks on, if there is one.
#pragma once

#include <cstddef>

namespace qsweep::app {

// Its descriptor, or -1. Ranks of mpirun write to pipes; if mpirun, their parent, has its stderr on
// a terminal, what they write there arrives there.
int terminal();

// Its width in characters.
size_t columns(int terminal);

}  // namespace qsweep::app
