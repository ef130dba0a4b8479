#include "sweep/plan/inputs.hpp"

#include <set>

#include "base/error.hpp"
#include "eval/workload.hpp"
#include "model/checkpoint.hpp"
#include "sweep/plan/locate.hpp"

namespace qsweep::sweep {

void require_inputs(const Plan& plan) {
  FaultList faults;
  const auto collect = [&](const auto& look) {
    try {
      look();
    } catch (const Error& error) {
      faults.add({plan.study.file.string(), 0, 0, error.what()});
    }
  };
  std::set<size_t> cells;
  for (const Run& run : plan.runs) cells.insert(run.cell);
  bool model = false;
  for (const size_t cell : cells) {
    model = model || eval::needs_model(plan.cells[cell].kind);
  }
  if (model) {
    collect([&] {
      const auto checkpoint = model::Checkpoint::open(locate_model(plan.study));
      model::Tokenizer::load(checkpoint->folder());
    });
  }
  std::set<std::string> texts;
  for (const eval::PerplexityParams& text : texts_of(plan)) {
    if (!texts.insert(text.data).second) continue;
    collect([&] { eval::find_text(text.data, plan.study.file); });
  }
  faults.throw_if_any();
}

}  // namespace qsweep::sweep
