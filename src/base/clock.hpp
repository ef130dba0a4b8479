// Monotonic stopwatch (seconds) and UTC timestamps.
#pragma once

#include <chrono>
#include <string>

namespace qsweep {

class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()) {}
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_;
};

double epoch_seconds();     // since 1970, by this machine's clock
std::string utc_now_iso();  // 2026-01-31T12:34:56Z
// Such a time as seconds since 1970; NaN where the text is none.
double utc_seconds(const std::string& iso);
std::string utc_now_compact();  // 20260131T123456Z, fit for folder names

// "0.25 s", "12.3 s", "4 min 05 s", "2 h 10 min", "3.2 d"; "?" where it is not finite.
std::string human_seconds(double seconds);

}  // namespace qsweep
