// A plan's runs as the hand-out policy and the simulator see them.
#include "eval/workload.hpp"
#include "sweep/plan/plan.hpp"

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

}  // namespace qsweep::sweep
