#include "base/error.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/utf8.hpp"

namespace qsweep {
namespace {

constexpr size_t max_part_bytes = 4096;  // of a message: room for a few paths

std::string join_parts(std::string_view problem, std::string_view why,
                       std::string_view suggestion) {
  std::string text = tamed(problem);
  if (!why.empty()) text.append(" (").append(tamed(why)).append(")");
  if (!suggestion.empty()) text.append(" ").append(tamed(suggestion));
  return text;
}

constexpr size_t max_word_bytes = 200, max_words = 1000;  // of suggestions

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

}  // namespace

Error::Error(ErrorKind kind, std::string_view problem, std::string_view why,
             std::string_view suggestion)
    : Error(kind, join_parts(problem, why, suggestion)) {}

std::string tamed(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text.substr(at, 4));
    if (out.size() + length > max_part_bytes) return out + "...";
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
    // C2 80 to C2 9F are U+0080 to U+009F, control characters too.
    const bool control = length == 0 || byte(0) < 0x20 || byte(0) == 0x7F ||
                         (length == 2 && byte(0) == 0xC2 && byte(1) < 0xA0);
    if (control) {
      out.push_back('?');
    } else {
      out.append(text.substr(at, length));
    }
    at += std::max<size_t>(1, length);
  }
  return out;
}

int exit_code(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::invalid_input:
    case ErrorKind::unavailable:
      return 2;
    case ErrorKind::gpu_guard:
      return 3;
    case ErrorKind::interrupted:
      return 75;
    case ErrorKind::io:
    case ErrorKind::resource:
    case ErrorKind::internal:
      return 1;
  }
  return 1;
}

void throw_invalid(std::string_view problem, std::string_view why, std::string_view suggestion) {
  throw Error(ErrorKind::invalid_input, problem, why, suggestion);
}

int64_t whole_number(std::string_view text, std::string_view what, int64_t low, int64_t high) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code == std::errc() && end == text.data() + text.size() && value >= low && value <= high)
    return value;
  throw_invalid(
      std::string(what) + " is '" + std::string(text) + "'",
      "expected a whole number from " + std::to_string(low) + " to " + std::to_string(high),
      "correct it or leave it out");
}

void expect(bool holds, std::string_view promise) {
  if (!holds)
    throw Error(ErrorKind::internal, "broken promise inside qsweep", promise,
                "please report this with the command and the input");
}

std::string FaultList::text() const {
  std::string text;
  for (const Fault& fault : faults_) {
    if (!text.empty()) text.push_back('\n');
    text.append(tamed(fault.file));
    if (fault.line > 0) text.append(":").append(std::to_string(fault.line));
    if (fault.line > 0 && fault.column > 0) text.append(":").append(std::to_string(fault.column));
    text.append(": ").append(fault.message);
  }
  return text;
}

void FaultList::throw_if_any() const {
  if (!faults_.empty()) throw Error(ErrorKind::invalid_input, text());
}

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = 0;
  if (word.size() > max_word_bytes) return best;
  for (size_t i = 0; i < std::min(known.size(), max_words); ++i) {
    const std::string& candidate = known[i];
    const size_t shorter = std::min(word.size(), candidate.size());
    const size_t longer = std::max(word.size(), candidate.size());
    const size_t allowed = std::max<size_t>(1, longer / 3);
    if (longer - shorter > allowed || longer > max_word_bytes) continue;
    const size_t distance = edit_distance(word, candidate);
    if (distance <= allowed && (best.empty() || distance < best_distance)) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace qsweep
