#include "sweep/folder/recorded_costs.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sweep/folder/run_folder.hpp"

namespace qsweep::sweep {

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
