// A whole study in ten lines, for tests that replace one of them and count places.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep::study_text {

inline const std::vector<std::string> base_lines = {
    "study: tiny",                                                         // 1
    "model: some/model",                                                   // 2
    "configs:",                                                            // 3
    "  C0: {}",                                                            // 4
    "  C1: {scope: mlp, weights: int4/g128}",                              // 5
    "workloads:",                                                          // 6
    "  profile: {prompt: [4, 8], output: 2}",                              // 7
    "  perplexity: {data: x.txt, window: 8, stride: 4}",                   // 8
    "claims:",                                                             // 9
    "  same: {equivalent: [C0, C1], metric: perplexity.nll, within: 1%}",  // 10
};

inline std::string with_line(size_t number, const std::string& line) {
  std::string text;
  for (size_t i = 0; i < base_lines.size(); ++i)
    text += (i + 1 == number ? line : base_lines[i]) + "\n";
  return text;
}
inline std::string base_text() {
  return with_line(0, "");
}

inline std::string faults_of(const std::string& yaml,
                             const std::vector<std::string>& overrides = {}) {
  try {
    (void)parse_study(yaml, "study.yaml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
    return error.what();
  }
  return "";
}

}  // namespace qsweep::sweep::study_text
