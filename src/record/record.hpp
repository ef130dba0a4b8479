// What a run leaves behind: attributes, metrics, raw samples, the per-tensor error table and the
// certificate. Names must stand in schema.hpp; putting an unknown one throws.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace qsweep::record {

using Attribute = std::variant<int64_t, double, std::string>;
using Values = std::variant<std::vector<double>, std::vector<int64_t>, std::vector<std::string>>;

struct Dataset {
  std::vector<int64_t> shape;  // row-major; product = number of values
  Values values;
};

struct RunRecord {
  std::map<std::string, Attribute> attributes;  // root attributes, schema::attributes()
  std::map<std::string, double>
      metrics;  // "profile.tpot_ms": schema::metrics(); NaN = not measured
  std::map<std::string, Dataset> datasets;  // "samples/token_latency_ms": schema::datasets()

  void set(const std::string& name, Attribute value);
  void metric(const std::string& name, double value);
  void put(const std::string& path, std::vector<int64_t> shape, Values values);
  // One-dimensional convenience.
  void put(const std::string& path, Values values);
};

// Writes the record whole or not at all (temporary name, sync, rename). Throws Error{io}.
void write_record(const std::filesystem::path& file, const RunRecord& record);
inline constexpr uint64_t max_run_bytes = uint64_t{1} << 28;  // a run of 10^6 tokens has some 10^7

// Reads and validates: format bound, schema version, shapes, bounded sizes. Throws
// Error{invalid_input} naming the file and the object inside it; never crashes on a hostile file.
RunRecord read_record(const std::filesystem::path& file);
// Of the datasets only those below samples/: the tables of the certificate are most of a record.
RunRecord read_samples(const std::filesystem::path& file);

// The same of bytes in memory whose seal was found to hold (read_ahead.hpp); `label` is the file
// for messages.
RunRecord parse_record(std::string_view bytes, const std::string& label);

// Which run a file holds, how it ended and what it took: all that resuming, planning with recorded
// costs, and `qsweep status` ask of thousands of files. Texts are empty and times 0 where the file
// lacks them.
struct RunState {
  std::string run_id, status, error;
  double seconds = 0, load_seconds = 0;
};
RunState parse_run_state(std::string_view bytes, const std::string& label);

}  // namespace qsweep::record
