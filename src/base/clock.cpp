#include "base/clock.hpp"

#include <fmt/format.h>

#include <cmath>
#include <ctime>

namespace qsweep {
namespace {

std::string format_utc(const char* pattern) {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, pattern, &utc);
  return text;
}

}  // namespace

std::string utc_now_iso() {
  return format_utc("%Y-%m-%dT%H:%M:%SZ");
}
std::string utc_now_compact() {
  return format_utc("%Y%m%dT%H%M%SZ");
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 1) return fmt::format("{:.2f} s", seconds);
  if (seconds < 100) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 6000) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  if (whole < 360000) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  return fmt::format("{:.1f} d", seconds / 86400);
}

}  // namespace qsweep
