// Cuts [0, count) into one contiguous piece a thread. What a piece computes must not depend on
// where it was cut.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace qsweep::quant::format {

// Calls f(begin, end) on every piece; the first exception of any piece is thrown again here.
template <class Function>
void for_pieces(int64_t count, int threads, const Function& f) {
  const int64_t pieces = std::clamp<int64_t>(threads, 1, std::max<int64_t>(count, 1));
  std::vector<std::exception_ptr> errors(static_cast<size_t>(pieces));
  const auto run = [&](int64_t piece) {
    try {
      f(count * piece / pieces, count * (piece + 1) / pieces);
    } catch (...) {
      errors[static_cast<size_t>(piece)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread>
        workers;  // joins when it leaves the scope, also when a thread cannot start
    for (int64_t piece = 1; piece < pieces; ++piece) workers.emplace_back(run, piece);
    run(0);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace qsweep::quant::format
