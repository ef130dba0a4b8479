#include "model/tokenizer/bounds.hpp"

#include "base/error.hpp"

namespace qsweep::model::tok {

void check_growth(uint64_t bytes, uint64_t limit) {
  if (bytes <= limit) return;
  throw_invalid(
      "the tokenizer makes a text too long",
      std::to_string(bytes) + " bytes where at most " + std::to_string(limit) + " are allowed",
      "does a step of tokenizer.json repeat what it inserts?");
}

std::string bounded_text(const Place& place, size_t most) {
  const std::string& text = place.string();
  if (text.size() > most) {
    place.fail("text too long",
               std::to_string(text.size()) + " bytes, at most " + std::to_string(most));
  }
  return text;
}

void check_steps(const Place& place, size_t steps) {
  if (steps >= max_steps) place.fail("too many steps", "at most " + std::to_string(max_steps));
}

}  // namespace qsweep::model::tok
