// The texts that a plan's runs read, each looked up and hashed once.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "eval/cell.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep {

struct Text {
  std::string sha256;  // empty: not here
  int64_t tokens = 0;  // estimated
};

class Texts {
 public:
  explicit Texts(const Study& study) : study_(study) {}
  const Text& of(const std::string& data);
  // Of a perplexity cell; others read none.
  Text of(const eval::Cell& cell);

 private:
  Text look_up(const std::string& data) const;

  const Study& study_;
  std::map<std::string, Text> texts_;
};

}  // namespace qsweep::sweep
