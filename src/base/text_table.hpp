// Columns of text for a terminal.
#pragma once

#include <cstddef>
#include <cstdint>
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

// "12 kB", "3.4 MB", "7.64 GB"; powers of ten.
std::string human_bytes(uint64_t bytes);

}  // namespace qsweep
