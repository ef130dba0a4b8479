// Root attributes of a record by type, with a default where they are absent or of another type.
#pragma once

#include <string>

#include "record/record.hpp"

namespace qsweep::reduce {

inline std::string text_of(const record::RunRecord& record, const std::string& name) {
  const auto found = record.attributes.find(name);
  if (found == record.attributes.end()) return {};
  const auto* text = std::get_if<std::string>(&found->second);
  return text == nullptr ? std::string() : *text;
}

inline int64_t integer_of(const record::RunRecord& record, const std::string& name,
                          int64_t otherwise) {
  const auto found = record.attributes.find(name);
  if (found == record.attributes.end()) return otherwise;
  const auto* value = std::get_if<int64_t>(&found->second);
  return value == nullptr ? otherwise : *value;
}

inline double real_of(const record::RunRecord& record, const std::string& name, double otherwise) {
  const auto found = record.attributes.find(name);
  if (found == record.attributes.end()) return otherwise;
  const auto* value = std::get_if<double>(&found->second);
  return value == nullptr ? otherwise : *value;
}

}  // namespace qsweep::reduce
