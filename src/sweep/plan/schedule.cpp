#include "sweep/plan/schedule.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.hpp"
#include "base/text_table.hpp"

namespace qsweep::sweep {
namespace {

constexpr size_t max_ranks_shown = 16;
// Measured on two cores with runs that do nothing: rank 0's work for one hand-out, and how long a
// rank is without work between two runs.
constexpr double answer_s = 30e-6, round_trip_s = 2e-3;

std::string human_hours(double seconds) {
  const double hours = seconds / 3600;
  return hours < 1 ? fmt::format("{:.3f}", hours)
                   : fmt::format("{:.{}f}", hours, hours < 100 ? 1 : 0);
}

}  // namespace

Schedule::Schedule(const Plan& plan, int64_t ranks, const RecordedCosts& recorded)
    : ranks_(ranks), recorded_folder_(recorded.folder) {
  input_.items = share_items(plan);
  input_.ranks = ranks;
  input_.seed = static_cast<uint64_t>(plan.study.seed);
  input_.load_seconds =
      recorded.load_seconds > 0 ? recorded.load_seconds : predicted_load_seconds(plan);
  input_.answer_seconds = answer_s;
  input_.round_trip_seconds = ranks > 1 ? round_trip_s : 0;
  for (const ShareItem& item : input_.items) {
    recorded_runs_ += recorded.seconds.contains(plan.runs[item.run].id) ? 1 : 0;
  }
  input_.seconds_of = [&](const ShareItem& item) {
    const auto found = recorded.seconds.find(plan.runs[item.run].id);
    return found == recorded.seconds.end() ? item.cost : found->second;
  };
  simulation_ = simulate(input_);
  input_.seconds_of = nullptr;
}

std::string Schedule::summary() const {
  double work = simulation_.busy - simulation_.loads;
  std::string text = fmt::format(
      "  predicted {} of work: {} on {}, {} rank-hours, efficiency {:.0f} %\n", human_seconds(work),
      human_seconds(simulation_.makespan), plural(static_cast<size_t>(ranks_), "rank"),
      human_hours(simulation_.makespan * static_cast<double>(ranks_)),
      100 * simulation_.efficiency());
  if (recorded_runs_ > 0) {
    text += fmt::format("  {} of {} costs are those recorded in {}\n", recorded_runs_,
                        input_.items.size(), recorded_folder_);
  }
  if (ranks_ > 1) text += "  " + what_limits(simulation_, input_) + "\n";
  return text;
}

std::string Schedule::shares() const {
  if (simulation_.rank_busy.size() < 2 || simulation_.makespan <= 0) return "";
  TextTable table("lrrr");
  table.add({"rank", "runs", "busy", "share"});
  for (size_t r = 0; r < std::min(max_ranks_shown, simulation_.rank_busy.size()); ++r) {
    table.add({std::to_string(r), std::to_string(simulation_.runs[r].size()),
               human_seconds(simulation_.rank_busy[r]),
               fmt::format("{:.0f} %", 100 * simulation_.rank_busy[r] / simulation_.makespan)});
  }
  std::string text = "\n" + table.text();
  if (simulation_.rank_busy.size() > max_ranks_shown) {
    const auto [least, most] =
        std::minmax_element(simulation_.rank_busy.begin(), simulation_.rank_busy.end());
    text += fmt::format("  ... and {} more; the least busy {}, the most {}\n",
                        simulation_.rank_busy.size() - max_ranks_shown, human_seconds(*least),
                        human_seconds(*most));
  }
  return text;
}

}  // namespace qsweep::sweep
