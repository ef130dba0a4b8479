// What a run leaves behind: attributes, metrics, raw samples, the per-tensor error table and the
// certificate. Names must stand in schema.hpp; putting an unknown one throws.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
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
// Reads and validates: format bound, schema version, shapes, bounded sizes. Throws
// Error{invalid_input} naming the file and the object inside it; never crashes on a hostile file.
RunRecord read_record(const std::filesystem::path& file);
// Only the root attributes and metrics (cheap: resuming and reducing look at thousands of files).
RunRecord read_record_summary(const std::filesystem::path& file);

}  // namespace qsweep::record
