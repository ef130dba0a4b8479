// Typed values from a tree. A wrong value is a fault with its place, and the fallback stands in for
// it, so that reading goes on and tells every fault.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/names.hpp"
#include "sweep/grammar/tree.hpp"

namespace qsweep::sweep::grammar {

inline constexpr size_t max_text_bytes = 1024;  // of a value

// A map with known keys. Construction tells a node that is no map and every unknown key.
class MapReader {
 public:
  MapReader(const Node& node, std::string what, std::vector<std::string> known, Faults& faults);
  const Node* find(const std::string& key) const { return node_.find(key); }
  const Node* need(const std::string& key) const;  // a missing key is a fault
  bool ok() const { return ok_; }                  // it is a map, or nothing

 private:
  const Node& node_;
  std::string what_;
  Faults& faults_;
  bool ok_ = true;
};

// Whole numbers in [min, max], decimal digits only.
int64_t read_integer(const Node& node, const std::string& what, int64_t min, int64_t max,
                     int64_t fallback, Faults& faults);
// Finite decimal numbers in [min, max]; `percent`: "25%" reads as 0.25.
double read_real(const Node& node, const std::string& what, double min, double max, double fallback,
                 Faults& faults, bool percent = false);
bool read_flag(const Node& node, const std::string& what, bool fallback, Faults& faults);
// Text of 1 to 1024 bytes without control characters; empty after a fault.
std::string read_text(const Node& node, const std::string& what, Faults& faults);
// A name fit for a folder; empty after a fault.
std::string read_safe_name(const Node& node, const std::string& what, Faults& faults);
bool check_safe_name(const std::string& name, const Place& place, const std::string& what,
                     Faults& faults);
// One of `known`; empty after a fault.
std::string read_word(const Node& node, const std::string& what,
                      const std::vector<std::string>& known, Faults& faults);
// A scalar or a list as the list of its items; a map or nothing is a fault and gives none.
std::vector<const Node*> read_list(const Node& node, const std::string& what, Faults& faults);

template <class E>
std::optional<E> read_name(const Node& node, const std::string& what, Faults& faults) {
  const std::string word = read_word(node, what, all_names<E>(), faults);
  return word.empty() ? std::nullopt : parse_name<E>(word);
}

// The shortest text that reads back to the same double.
std::string number_text(double value);
// "0.5%" for 0.005; what was read from a percentage reads back to the same double.
std::string percent_text(double fraction);

}  // namespace qsweep::sweep::grammar
