// qsweep inspect FILE.h5|RUN_DIR, qsweep status RUN_DIR: what is on disk, for a person.
#include <filesystem>
#include <iostream>
#include <map>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "record/inspect.hpp"
#include "record/schema.hpp"
#include "sweep/plan.hpp"
#include "sweep/progress_file.hpp"
#include "sweep/run_folder.hpp"

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

Tally count_runs(const fs::path& folder, const sweep::PlanManifest& plan) {
  Tally tally;
  std::vector<std::string> paths;
  for (const auto& run : plan.runs) {
    tally.cost_all += run.cost;
    paths.push_back(run.path);
  }
  sweep::for_each_state(folder, paths, [&](size_t i, record::RunState state) {
    if (state.status != "unreadable" && state.run_id != plan.runs[i].id)
      state = {"", "unreadable", "it is another run than planned: " + state.run_id};
    ++tally.by_status[state.status];
    tally.cost_done += plan.runs[i].cost;
    if (state.status != "ok")
      tally.problems.push_back(state.status + ": " + paths[i] + ": " + state.error);
  });
  return tally;
}

void print_folder(const fs::path& folder) {
  const sweep::PlanManifest plan = sweep::read_plan_manifest(folder / "manifests" / "plan.json");
  const Tally tally = count_runs(folder, plan);
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
    print_folder(path);
  } else if (!path.empty()) {
    std::cout << record::inspect_text(path);
  }
  return 0;
}

int status_command(const Arguments& arguments) {
  const std::string path =
      parse_path(arguments, "qsweep status RUN_DIR", "the run folder", nullptr);
  if (path.empty()) return 0;
  print_folder(path);
  std::cout << sweep::progress_text(path);
  return 0;
}

}  // namespace qsweep::app
