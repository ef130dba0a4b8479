#include "sweep/share/budget.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/text_table.hpp"

namespace qsweep::sweep {
namespace {

constexpr int64_t max_number = 1000000;
// Of every job: starting, reading the model, and the moment before the end in which nothing is
// begun.
constexpr double lost_seconds = 60;
// As share.cpp keeps for a run that was never seen.
constexpr double unseen_margin = 1.5;

std::vector<int64_t> numbers(const std::string& text, const std::string& whole) {
  std::vector<int64_t> found;
  size_t at = 0;
  for (;;) {
    const size_t end = text.find(':', at);
    found.push_back(whole_number(text.substr(at, end == std::string::npos ? end : end - at),
                                 "the time limit '" + whole.substr(0, 40) + "'", 0, max_number));
    if (end == std::string::npos) return found;
    at = end + 1;
  }
}

}  // namespace

double time_limit_seconds(const std::string& text) {
  const size_t dash = text.find('-');
  int64_t days = 0;
  std::string clock = text;
  if (dash != std::string::npos) {
    days = whole_number(text.substr(0, dash), "days of the time limit", 0, max_number);
    clock = text.substr(dash + 1);
  }
  std::vector<int64_t> parts = numbers(clock, text);
  if (parts.size() <= 3) {
    // After days the first number counts hours; without them two numbers count minutes and seconds.
    if (dash != std::string::npos) {
      parts.resize(3, 0);
    } else {
      if (parts.size() == 1) parts.push_back(0);
      if (parts.size() == 2) parts.insert(parts.begin(), 0);
    }
    const int64_t seconds = ((days * 24 + parts[0]) * 60 + parts[1]) * 60 + parts[2];
    if (seconds > 0) return static_cast<double>(seconds);
  }
  throw_invalid("'" + text.substr(0, 40) + "' is no time limit", "Slurm's forms are known",
                "give 90 (minutes), 01:30:00 or 1-12:00:00");
}

std::string budget_text(const Simulation& simulation, int64_t ranks, bool gpus,
                        double limit_seconds) {
  const std::string unit = gpus ? "GPU" : "rank";
  const double hours = simulation.makespan * static_cast<double>(ranks) / 3600;
  std::string text = fmt::format("  budget: {:.3g} {}-hours on {}, {} beside a limit of {}", hours,
                                 unit, plural(static_cast<size_t>(ranks), unit),
                                 human_seconds(simulation.makespan), human_seconds(limit_seconds));
  const double usable = limit_seconds - std::min(lost_seconds, 0.1 * limit_seconds);
  if (unseen_margin * simulation.longest_run > usable) {
    return text + fmt::format(
                      "\n  WARN: a run of {} may not fit into the limit and would not be begun; "
                      "ask for more time\n",
                      human_seconds(simulation.longest_run));
  }
  const double jobs = std::max(1.0, std::ceil(simulation.makespan / usable));
  return text + (jobs > 1 ? fmt::format(": about {:.0f} jobs, one after the other\n", jobs)
                          : ": one job\n");
}

}  // namespace qsweep::sweep
