// Runs to share out, as tests want them.
#pragma once

#include <set>
#include <vector>

#include "sweep/share/share.hpp"

namespace qsweep::sweep {

// Every config on every cell, repeat by repeat; cell c costs 1 + c seconds.
inline std::vector<ShareItem> grid(size_t configs, size_t cells, int64_t repeats) {
  std::vector<ShareItem> items;
  for (int64_t r = 0; r < repeats; ++r) {
    for (size_t cell = 0; cell < cells; ++cell) {
      for (size_t config = 0; config < configs; ++config) {
        items.push_back({items.size(), config, cell, r, 1.0 + static_cast<double>(cell)});
      }
    }
  }
  return items;
}

// One run a cell, of these costs.
inline std::vector<ShareItem> of_costs(const std::vector<double>& costs) {
  std::vector<ShareItem> items;
  for (const double cost : costs) items.push_back({items.size(), 0, items.size(), 0, cost});
  return items;
}

}  // namespace qsweep::sweep
