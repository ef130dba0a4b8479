// What the statistics see of the accepted runs: one value a metric and run, and items on demand.
// Metrics are counted as in record::schema::metrics().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace qsweep::reduce {

struct CellKey {
  std::string workload, lengths, kind;
};

// Per-item values of a deterministic metric and their weights, both [n_items]; weights empty:
// equal.
struct Items {
  std::vector<double> values, weights;
};

struct RunValues {
  int64_t repeat = 0;
  std::vector<double> metrics;                 // [schema::metrics().size()], NaN = not measured
  std::map<size_t, std::string> items_digest;  // metric -> digest of its items and weights
  std::string protocol_fingerprint;
};

struct Observations {
  std::vector<std::string> configs;
  std::vector<CellKey> cells;
  std::vector<std::vector<RunValues>> runs;  // [n_configs * n_cells], each by ascending repeat
  std::vector<char> planned;                 // [n_configs * n_cells]: the plan has runs there
  // Items of a metric in the run of lowest repeat; both vectors empty where there are none.
  std::function<Items(size_t config, size_t cell, size_t metric)> items;

  size_t at(size_t config, size_t cell) const { return config * cells.size() + cell; }
  const std::vector<RunValues>& of(size_t config, size_t cell) const {
    return runs[at(config, cell)];
  }
};

}  // namespace qsweep::reduce
