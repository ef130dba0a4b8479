// The one place where names of attributes, metrics and datasets stand. docs are generated from
// these tables.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qsweep::record::schema {

inline constexpr int64_t version = 1;

enum class Type { integer, real, text };

struct AttributeInfo {
  std::string_view name;
  Type type;
  std::string_view meaning;
};

// How values of a metric compare: ratio (times, bytes, rates: compared in logs) or additive (nll,
// accuracy).
enum class Scale { ratio, additive };
enum class Better { lower, higher, neither };

struct MetricInfo {
  std::string_view name;   // "<workload kind>.<metric>"
  std::string_view units;  // "1" for dimensionless
  std::string_view long_name;
  Scale scale;
  Better better;
  bool deterministic;  // same bits at every repeat (quality), so items and not repeats carry the
                       // spread
  std::string_view items;  // dataset of per-item values whose weighted mean is the metric, or empty
  std::string_view weights;  // dataset of the items' weights, or empty for equal weights
};

struct DatasetInfo {
  std::string_view path;  // inside the file
  Type type;
  std::string_view units;
  std::string_view long_name;
  std::string_view dims;  // comma-separated dimension names
};

std::span<const AttributeInfo> attributes();
std::span<const MetricInfo> metrics();
std::span<const DatasetInfo> datasets();

const AttributeInfo* find_attribute(std::string_view name);
const MetricInfo* find_metric(std::string_view name);
const DatasetInfo* find_dataset(std::string_view path);

// The tables as Markdown; docs/record.md is this text and a test compares them.
std::string markdown();

}  // namespace qsweep::record::schema
