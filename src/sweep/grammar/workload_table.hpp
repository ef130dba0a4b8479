// Workload kinds and their keys: the one table behind reading, defaults, resolved.yaml and the
// documentation.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string_view>

#include "eval/cell.hpp"

namespace qsweep::sweep::grammar {

enum class FieldType { integer, real, flag, text, word, integers };

struct Field {
  std::string_view key;
  std::string_view param;  // name in the cell's canonical JSON
  FieldType type;
  std::string_view fallback;    // as a study would write it; empty: the key must be there
  double min = 0, max = 0;      // integer, real, integers
  bool axis = false;            // a list gives one cell for each value
  std::string_view words = {};  // word: separated by spaces
};

struct KindInfo {
  eval::WorkloadKind kind;
  std::string_view lengths;   // folder name of a cell, "{param}" replaced
  std::string_view list_key;  // the key that a bare list or word stands for; empty: none
  std::span<const Field> fields;
};

const KindInfo& kind_info(eval::WorkloadKind kind);

// The cell of these parameters, and back. `params` holds every field of the kind.
eval::Cell make_cell(eval::WorkloadKind kind, const std::string& workload,
                     const nlohmann::json& params);
nlohmann::json params_of(const eval::Cell& cell);

}  // namespace qsweep::sweep::grammar
