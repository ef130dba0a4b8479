// The tables of a report as columns, once for CSV and for HDF5.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "record/record.hpp"
#include "reduce/reduce.hpp"

namespace qsweep::reduce {

struct Column {
  std::string name, units, long_name;
  record::Values values;  // [n_rows]
};
using Table = std::vector<Column>;

Table aggregate_table(const ReduceReport& report);
Table paper_table(const ReduceReport& report);
Table claims_table(const ReduceReport& report);
Table noise_floor_table(const ReduceReport& report);
Table drift_table(const ReduceReport& report);
Table cost_table(const ReduceReport& report);
Table run_index_table(const ReduceReport& report);

// RFC 4180 with a header line; numbers in the shortest form that reads back to the same bits, NaN
// as nothing.
std::string to_csv(const Table& table);
// Groups aggregate, claims, cost, drift, noise_floor and run_index, each of columns along "row",
// and external links runs/<config>/<workload>/<lengths>/r<repeat> to every readable record. Whole
// or not at all.
void write_sweep_file(const std::filesystem::path& file, const ReduceReport& report);

// Shortest decimal form that reads back to the same double; empty for NaN.
std::string number_text(double value);

}  // namespace qsweep::reduce
