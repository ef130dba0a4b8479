// qsweep inspect FILE.h5|RUN_DIR, qsweep status RUN_DIR: what is on disk, for a person.
#include <filesystem>
#include <iostream>
#include <map>
#include <set>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "record/inspect.hpp"
#include "record/schema.hpp"
#include "sweep/folder/look.hpp"
#include "sweep/folder/run_folder.hpp"
#include "sweep/folder/status.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

// Options of both commands; an empty path means that help was printed.
std::string parse_path(const Arguments& arguments, const std::string& title,
                       const std::string& what, bool* schema) {
  std::string path;
  bool print_schema = false;
  po::options_description options(title);
  if (schema != nullptr) {
    options.add_options()("schema", po::bool_switch(&print_schema),
                          "print the names a record may hold, as Markdown");
  }
  const bool wanted = parse_options(arguments, options, &path);
  if (schema != nullptr) *schema = print_schema;
  if (!wanted) return {};
  if (path.empty() && !print_schema) throw_invalid(what + " is missing", title);
  return path;
}

struct Tally {
  std::map<std::string, size_t> by_status;
  double cost_done = 0, cost_all = 0;
  std::vector<std::string> problems;
};

void add(Tally& tally, const sweep::PlanManifest::Entry& run, const record::RunState& state) {
  ++tally.by_status[state.status];
  tally.cost_done += run.cost;
  if (state.status != "ok")
    tally.problems.push_back(state.status + ": " + run.path + ": " + state.error);
}

// Reads every record and checks its seal; of a sweep that is looked at while it runs (`quick`) only
// those that the ranks' logs do not know as well ended.
Tally count_runs(const fs::path& folder, const sweep::PlanManifest& plan, bool quick) {
  std::set<std::string> present;
  std::map<std::string, std::string> ends;
  if (quick) {
    present = sweep::present_records(folder);
    ends = sweep::logged_ends(folder);
  }
  Tally tally;
  std::vector<std::string> paths;
  std::vector<size_t> runs;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    const auto& run = plan.runs[i];
    tally.cost_all += run.cost;
    if (quick && !present.contains(run.path)) continue;
    if (const auto end = ends.find(run.id); end != ends.end() && end->second == "ok") {
      add(tally, run, {run.id, "ok", "", 0, 0});
      continue;
    }
    paths.push_back(run.path);
    runs.push_back(i);
  }
  sweep::for_each_state(folder, paths, [&](size_t i, record::RunState state) {
    const auto& run = plan.runs[runs[i]];
    if (state.status != "unreadable" && state.run_id != run.id)
      state = {"", "unreadable", "it is another run than planned: " + state.run_id, 0, 0};
    add(tally, run, state);
  });
  return tally;
}

void print_folder(const fs::path& folder, bool quick) {
  const sweep::PlanManifest plan = sweep::read_plan_manifest(folder / "manifests" / "plan.json");
  const Tally tally = count_runs(folder, plan, quick);
  size_t found = 0;
  std::cout << "study " << plan.study << ", model " << tamed(plan.model) << "\n"
            << plan.runs.size() << " runs planned";
  for (const auto& [status, count] : tally.by_status) {
    std::cout << ", " << count << " " << tamed(status);
    found += count;
  }
  std::cout << ", " << plan.runs.size() - found << " to come (predicted "
            << human_seconds(tally.cost_all - tally.cost_done) << " of one rank)\n";
  constexpr size_t most = 20;
  for (size_t i = 0; i < std::min(most, tally.problems.size()); ++i)
    std::cout << "  " << tamed(tally.problems[i]) << "\n";
  if (tally.problems.size() > most)
    std::cout << "  ... " << tally.problems.size() - most << " more\n";
  for (const auto& refusal : plan.refusals) {
    std::cout << "  refused: " << refusal.config << " x " << refusal.workload << ": "
              << tamed(refusal.reason) << "\n";
  }
}

}  // namespace

int inspect_command(const Arguments& arguments) {
  bool schema = false;
  const std::string path =
      parse_path(arguments, "qsweep inspect FILE.h5|RUN_DIR", "the file or run folder", &schema);
  if (schema) {
    std::cout << record::schema::markdown();
  } else if (!path.empty() && fs::is_directory(path)) {
    print_folder(path, false);
  } else if (!path.empty()) {
    std::cout << record::inspect_text(path);
  }
  return 0;
}

int status_command(const Arguments& arguments) {
  const std::string path =
      parse_path(arguments, "qsweep status RUN_DIR", "the run folder", nullptr);
  if (path.empty()) return 0;
  print_folder(path, true);
  std::cout << sweep::status_text(path);
  return 0;
}

}  // namespace qsweep::app
