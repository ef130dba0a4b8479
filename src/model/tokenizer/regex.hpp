// Regular expressions of tokenizer.json. They are written for Oniguruma (Ruby syntax, Unicode
// classes); PCRE2 runs them after `translate_oniguruma` has rewritten what the two read
// differently. Matching is bounded: endless backtracking throws instead of hanging.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qsweep::model::tok {

// Half-open byte range of the searched text.
struct Match {
  size_t begin;
  size_t end;
};

// The same pattern in PCRE2 syntax; throws Error{invalid_input} where there is no equivalent.
std::string translate_oniguruma(std::string_view pattern);

class Regex {
 public:
  // Throws Error{invalid_input} naming `place` if the pattern cannot be compiled.
  Regex(std::string_view oniguruma_pattern, const std::string& place);

  // All matches in order, without overlap; an empty match right behind another match is left out.
  // Safe to call from several threads.
  std::vector<Match> find_all(std::string_view valid_utf8) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace qsweep::model::tok
