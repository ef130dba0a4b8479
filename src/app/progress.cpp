#include "app/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <iostream>
#include <memory>

namespace qsweep::app {
namespace {

constexpr int bar_width = 30;

// Remaining time from predicted costs, corrected by how wrong they have been so far.
double eta_seconds(const sweep::Progress& progress) {
  if (progress.cost_finished <= 0) return NAN;
  const double rate = progress.seconds / progress.cost_finished;
  return rate * (progress.cost_total - progress.cost_finished);
}

std::string status_line(const sweep::Progress& progress) {
  std::string line = fmt::format("{}/{} runs", progress.finished, progress.total);
  if (progress.failed > 0) line += fmt::format(", {} failed", progress.failed);
  if (progress.unproven > 0) line += fmt::format(", {} unproven", progress.unproven);
  line += ", " + human_seconds(progress.seconds);
  const double eta = eta_seconds(progress);
  if (std::isfinite(eta) && progress.finished < progress.total)
    line += ", about " + human_seconds(eta) + " left";
  return line;
}

void print_bar(const sweep::Progress& progress) {
  const double share = progress.total == 0 ? 1
                                           : static_cast<double>(progress.finished) /
                                                 static_cast<double>(progress.total);
  const int filled = static_cast<int>(share * bar_width);
  std::cerr << "\r[" << std::string(static_cast<size_t>(filled), '=')
            << std::string(static_cast<size_t>(bar_width - filled), ' ') << "] "
            << status_line(progress) << "\033[K"
            << (progress.finished == progress.total ? "\n" : "") << std::flush;
}

}  // namespace

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (seconds < 100) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

sweep::ProgressSink make_progress(const sweep::Plan& plan) {
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const auto next_line = std::make_shared<double>(0);  // share at which the log gets its next line
  return [&plan, terminal, next_line](const sweep::Progress& progress) {
    if (progress.status == "failed" || progress.status == "unproven") {
      std::cerr << (terminal ? "\r\033[K" : "") << progress.status << ": "
                << plan.runs[*progress.run].path << " on rank " << progress.rank << ": "
                << progress.error << "\n";
    }
    if (terminal) {
      print_bar(progress);
      return;
    }
    const double share = progress.total == 0 ? 1
                                             : static_cast<double>(progress.finished) /
                                                   static_cast<double>(progress.total);
    if (share < *next_line && progress.finished != progress.total) return;
    *next_line = share + 0.1;
    std::cerr << status_line(progress) << std::endl;
  };
}

}  // namespace qsweep::app
