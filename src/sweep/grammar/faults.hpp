// Collects the faults of a study with their places, sorted and without repetitions.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace qsweep::sweep::grammar {

// Where something stands; line and column count from 1, 0 means that the source has no lines (an
// override).
struct Place {
  int source = 0;  // index of the study file (0) or of an override
  int line = 0, column = 0;
  auto operator<=>(const Place&) const = default;
};

class Faults {
 public:
  explicit Faults(std::string file_name) : sources_{std::move(file_name)} {}
  // Registers another text to blame; returns its index.
  int add_source(std::string name);
  // Message `problem (why) suggestion`; empty parts are left out.
  void add(const Place& place, std::string_view problem, std::string_view why = {},
           std::string_view suggestion = {});
  bool empty() const { return faults_.empty(); }
  size_t count() const { return faults_.size(); }
  // More would not be told: suggestions for them are time lost.
  bool enough() const;
  // Throws Error{invalid_input}: one line a fault.
  void throw_if_any() const;

 private:
  std::vector<std::string> sources_;
  std::set<std::pair<Place, std::string>> faults_;
};

// `did you mean 'x'?`, or else `choose one of a, b, c` where the list is short enough to read.
std::string suggest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace qsweep::sweep::grammar
