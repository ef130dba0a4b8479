// The one exception type of the library, and the collector that tells all faults of an input at
// once. A message reads `problem (why) suggestion`.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace qsweep {

// What went wrong, by who can mend it; the mains turn it into the documented exit code.
enum class ErrorKind {
  invalid_input,  // a file or option of the user's: exit 2
  unavailable,    // asked for something that this build or machine does not have: exit 2
  gpu_guard,      // a GPU is needed and there is none: exit 3
  interrupted,    // a signal or the time limit: exit 75
  io,             // the file system refused: exit 1
  resource,       // out of memory: a failed run inside a sweep, otherwise exit 1
  internal,       // a broken promise between two parts of the program: exit 1
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  // Joins the three parts as `problem (why) suggestion`, each of them tamed; empty parts are left
  // out.
  Error(ErrorKind kind, std::string_view problem, std::string_view why,
        std::string_view suggestion = {});
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

int exit_code(ErrorKind kind) noexcept;

[[noreturn]] void throw_invalid(std::string_view problem, std::string_view why,
                                std::string_view suggestion = {});
// Decimal digits alone, in [low, high]; throws Error{invalid_input} that names `what` otherwise.
int64_t whole_number(std::string_view text, std::string_view what, int64_t low, int64_t high);

// A promise between two parts of the program; always checked, its cost is nothing beside a matmul.
void expect(bool holds, std::string_view promise);

// One fault of an input file; line and column count from 1, 0 means unknown.
struct Fault {
  std::string file;
  int line = 0;
  int column = 0;
  std::string message;  // `problem (why) suggestion`
};

// Collects faults so that a person sees them all at once instead of one a try.
class FaultList {
 public:
  void add(Fault fault) { faults_.push_back(std::move(fault)); }
  bool empty() const noexcept { return faults_.empty(); }
  const std::vector<Fault>& faults() const noexcept { return faults_; }
  std::string text() const;  // one line a fault: file:line:column: message
  // Throws Error{invalid_input} with text() if there is any fault.
  void throw_if_any() const;

 private:
  std::vector<Fault> faults_;
};

// What comes from outside, fit for a message: control characters (a terminal would obey them) and
// bytes that are no UTF-8 become '?', and a long text ends in "...".
std::string tamed(std::string_view text);

// The word of `known` nearest to `word` by edit distance, or empty where none is near (distance >
// 1/3 of the longer word). For "did you mean"; of many words the first 1000 are looked at.
std::string nearest_word(std::string_view word, const std::vector<std::string>& known);

}  // namespace qsweep
