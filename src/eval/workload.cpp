#include "eval/workload.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "eval/workloads.hpp"

namespace qsweep::eval {
namespace {

struct Row {
  WorkloadKind kind;
  bool needs_model;
  void (*run)(const RunInput&, record::RunRecord&);
};

// The workloads that this build can run; a kind without a row parses and plans, and is refused with
// a reason.
constexpr std::array<Row, 3> rows = {{{WorkloadKind::profile, true, run_profile},
                                      {WorkloadKind::perplexity, true, run_perplexity},
                                      {WorkloadKind::synthetic, false, run_synthetic}}};

const Row* find_row(WorkloadKind kind) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [kind](const Row& row) { return row.kind == kind; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace

bool available(WorkloadKind kind) {
  return find_row(kind) != nullptr;
}

bool needs_model(WorkloadKind kind) {
  const Row* row = find_row(kind);
  return row == nullptr || row->needs_model;
}

void run_workload(const RunInput& input, record::RunRecord& record) {
  const Row* row = find_row(input.cell->kind);
  expect(row != nullptr, "the planner refuses workloads without an engine");
  row->run(input, record);
}

}  // namespace qsweep::eval
