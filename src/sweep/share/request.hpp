// What a rank says when it asks for work, and what it is told.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>

namespace qsweep::sweep {

struct Request {
  std::optional<size_t> finished;  // run index that it has just ended
  double seconds = 0;              // that run's wall time
  double load_seconds = 0;         // of these, making configs resident
  std::string status;              // "ok", "failed", "unproven", or "dropped" (not recorded)
  std::string error;               // why it failed, or why the rank leaves
  std::set<size_t> resident;       // configs it holds
  bool leaving = false;            // it takes no more work: interrupted, or it cannot work
  bool stop_all = false;           // with `leaving`: nobody should go on
};

// The request as one message, and back. Throws Error{internal} on a text that is none.
std::string to_message(const Request& request);
Request from_message(const std::string& text);

// Asks for the next run; blocks (sleeping) until there is an answer. nullopt: no more work.
using WorkSource = std::function<std::optional<size_t>(const Request&)>;

}  // namespace qsweep::sweep
