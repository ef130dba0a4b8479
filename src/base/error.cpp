#include "base/error.hpp"

#include <algorithm>
#include <charconv>
#include <numeric>

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
  size_t end = text.size();
  if (end > max_part_bytes) {
    end = max_part_bytes;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  }
  std::string out;
  out.reserve(end);
  for (size_t i = 0; i < end; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080..U+009F, in UTF-8 C2 80..9F, are control characters too.
    const bool two = byte == 0xC2 && i + 1 < end && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    const bool control = byte < 0x20 || byte == 0x7F || two;
    out.push_back(control ? '?' : text[i]);
    i += two ? 1 : 0;
  }
  return end < text.size() ? out + "..." : out;
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
