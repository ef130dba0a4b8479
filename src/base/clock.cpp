#include "base/clock.hpp"

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

}  // namespace qsweep
