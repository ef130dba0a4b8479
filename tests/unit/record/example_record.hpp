// A record with one of everything: each attribute, metric and dataset of the schema, with values
// that no two share, so that a mix-up shows.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "record/record.hpp"
#include "record/schema.hpp"

namespace qsweep::record::testing {

inline Values example_values(schema::Type type, int64_t count, int64_t salt) {
  std::vector<double> reals;
  std::vector<int64_t> integers;
  std::vector<std::string> texts;
  for (int64_t i = 0; i < count; ++i) {
    reals.push_back(std::sin(static_cast<double>(salt * 1000 + i)));
    integers.push_back(salt * 1000 + i);
    texts.push_back("text \xC3\xA9 " + std::to_string(salt * 1000 + i));
  }
  if (type == schema::Type::real) return reals;
  if (type == schema::Type::integer) return integers;
  return texts;
}

// `tokens` values along the dimension "token", 7 along every other.
inline RunRecord example_record(int64_t tokens = 2000) {
  RunRecord record;
  int64_t salt = 0;
  for (const auto& info : schema::attributes()) {
    ++salt;
    const std::string name(info.name);
    if (info.name == "schema_version") continue;
    if (info.type == schema::Type::integer) record.set(name, salt);
    if (info.type == schema::Type::real) record.set(name, 0.1 * static_cast<double>(salt));
    if (info.type == schema::Type::text)
      record.set(name, name + " \xE2\x82\xAC " + std::to_string(salt));
  }
  for (const auto& info : schema::metrics())
    record.metric(std::string(info.name), 0.3 * static_cast<double>(++salt));
  record.metric("profile.energy_j", std::numeric_limits<double>::quiet_NaN());
  for (const auto& info : schema::datasets()) {
    record.put(std::string(info.path),
               example_values(info.type, info.dims == "token" ? tokens : 7, ++salt));
  }
  return record;
}

inline bool same_number(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

inline std::string bytes_of(const std::filesystem::path& file) {
  return read_file(file, uint64_t{1} << 30);
}

}  // namespace qsweep::record::testing
