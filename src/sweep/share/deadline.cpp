#include "sweep/share/deadline.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <utility>

#include "base/error.hpp"

namespace qsweep::sweep {
namespace {

// Kept for the reducer: 30 s, or a tenth of what is left where that is less.
constexpr double reserve_s = 30, reserve_share = 0.1;
constexpr double latest_epoch = 4102444800;  // 2100

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// "1h30m", "90m", "45s": each unit at most once, the larger first.
std::optional<double> duration(const std::string& text) {
  constexpr std::pair<char, double> units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
  double seconds = 0;
  size_t at = 0;
  for (const auto& [unit, factor] : units) {
    const size_t end = text.find(unit, at);
    if (end == std::string::npos) continue;
    const auto value = whole_number(text.substr(at, end - at));
    if (!value || *value > 1000000) return std::nullopt;
    seconds += factor * static_cast<double>(*value);
    at = end + 1;
  }
  if (at == 0 || at != text.size()) return std::nullopt;
  return seconds;
}

std::optional<double> utc_time(const std::string& text) {
  std::tm parts{};
  const char* end = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return static_cast<double>(timegm(&parts));
}

std::optional<double> moment(const std::string& text) {
  if (text.starts_with('+')) {
    const auto seconds = duration(text.substr(1));
    return seconds ? std::optional(now() + *seconds) : std::nullopt;
  }
  if (const auto epoch = whole_number(text)) return static_cast<double>(*epoch);
  return utc_time(text);
}

}  // namespace

Deadline Deadline::at(double epoch, std::string source) {
  Deadline deadline;
  deadline.epoch_ = epoch;
  deadline.source_ = std::move(source);
  return deadline;
}

Deadline Deadline::read(const std::string& until) {
  std::string text = until, source = "--until";
  if (text.empty()) {
    const char* end = std::getenv("SLURM_JOB_END_TIME");
    if (end == nullptr || *end == '\0') return {};
    text = end;
    source = "SLURM_JOB_END_TIME";
  }
  const auto end = moment(text);
  if (!end || *end < 1e9 || *end > latest_epoch) {
    throw_invalid("'" + text.substr(0, 80) + "' is no moment", "from " + source,
                  "give 2026-01-31T12:00:00Z, +90m, +1h30m, or seconds since 1970");
  }
  const double reserve = std::clamp(reserve_share * (*end - now()), 0.0, reserve_s);
  return at(*end - reserve, std::move(source));
}

double Deadline::seconds_left() const {
  return any() ? epoch_ - now() : std::numeric_limits<double>::infinity();
}

}  // namespace qsweep::sweep
