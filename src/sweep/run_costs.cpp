// A plan's runs as the hand-out policy and the simulator see them: what each is predicted to cost,
// or was recorded to.
#include <algorithm>

#include "base/error.hpp"
#include "eval/workload.hpp"
#include "sweep/plan.hpp"
#include "sweep/run_folder.hpp"

namespace qsweep::sweep {
std::vector<ShareItem> share_items(const Plan& plan, const std::set<size_t>& finished) {
  std::vector<ShareItem> items;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    if (finished.contains(i)) continue;
    const Run& run = plan.runs[i];
    items.push_back({i, run.config, run.cell, run.repeat, run.cost, run.sentinel,
                     eval::needs_model(plan.cells[run.cell].kind)});
  }
  return items;
}

double predicted_load_seconds(const Plan& plan) {
  if (!plan.shape_known || plan.peak_bytes == 0) return 0;
  return static_cast<double>(plan.weight_bytes_max) / plan.rates.load_bytes_per_s;
}

RecordedCosts read_recorded_costs(const std::filesystem::path& folder, const Plan& plan) {
  RecordedCosts costs;
  costs.folder = folder.string();
  double loads = 0, runs_with_loads = 0;
  std::vector<std::string> paths;
  for (const Run& run : plan.runs) paths.push_back(run.path);
  for_each_state(folder, paths, [&](size_t i, const record::RunState& state) {
    if (state.status != "ok") return;
    costs.seconds[plan.runs[i].id] = std::max(0.0, state.seconds - state.load_seconds);
    loads += state.load_seconds;
    runs_with_loads += state.load_seconds > 0 ? 1 : 0;
  });
  if (costs.seconds.empty()) {
    throw_invalid("no recorded costs in " + folder.string(), "none of the plan's runs lies there",
                  "name the run folder of a sweep of this study");
  }
  if (runs_with_loads > 0) costs.load_seconds = loads / runs_with_loads;
  return costs;
}

}  // namespace qsweep::sweep
