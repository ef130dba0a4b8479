// Columns of text for a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace qsweep {

// Rows of columns, padded; columns whose letter in `align` is 'r' stand right.
class TextTable {
 public:
  explicit TextTable(std::string align) : align_(std::move(align)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::string align_;
  std::vector<std::vector<std::string>> rows_;
};

// "1 run", "2 runs".
std::string plural(size_t count, const std::string& word);

}  // namespace qsweep
