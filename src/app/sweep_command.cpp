// qsweep [STUDY.yaml] [options]: plan, stage, sweep, reduce.
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/orphan_guard.hpp"
#include "app/prep.hpp"
#include "app/progress.hpp"
#include "app/sweep_settings.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text_table.hpp"
#include "comm/communicator.hpp"
#include "eval/workload.hpp"
#include "record/provenance.hpp"
#include "reduce/reduce.hpp"
#include "sweep/folder/recorded_costs.hpp"
#include "sweep/folder/run_folder.hpp"
#include "sweep/plan/inputs.hpp"
#include "sweep/plan/part.hpp"
#include "sweep/plan/schedule.hpp"
#include "sweep/share/budget.hpp"
#include "sweep/sweep.hpp"

namespace qsweep::app {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t max_study_bytes = 1 << 20;
constexpr size_t max_ranks_shown = 16;
constexpr double resident_share =
    0.5;  // of the node's memory, for resident weights of all its ranks

extern "C" void on_signal(int) {
  sweep::request_stop();
}

// Before MPI starts, so that a signal never finds the default action.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

void print_tallies(const sweep::SweepOutcome& outcome) {
  for (size_t r = 0; r < std::min(max_ranks_shown, outcome.tallies.size()); ++r) {
    const sweep::RankTally& tally = outcome.tallies[r];
    const double share = outcome.seconds > 0 ? 100 * tally.busy_seconds / outcome.seconds : 0;
    std::cout << "  rank " << r << ": " << plural(tally.runs, "run") << ", busy "
              << human_seconds(tally.busy_seconds) << " (" << std::lround(share) << " %)";
    if (tally.load_seconds > 0)
      std::cout << ", of it " << human_seconds(tally.load_seconds) << " making configs resident";
    std::cout << "\n";
  }
  if (outcome.tallies.size() > max_ranks_shown)
    std::cout << "  ... " << outcome.tallies.size() - max_ranks_shown << " more ranks\n";
}

void print_summary(const sweep::SweepOutcome& outcome, const Settings& settings,
                   const fs::path& folder) {
  std::cout << "\n" << plural(outcome.finished, "run") << " in " << human_seconds(outcome.seconds);
  if (outcome.resumed > 0) std::cout << ", " << outcome.resumed << " found finished";
  std::cout << "\n";
  print_tallies(outcome);
  const sweep::Progress& progress = outcome.progress;
  if (progress.finished > 0 && progress.predicted_finished > 0) {
    std::cout << "  cost: " << human_seconds(progress.predicted_finished) << " predicted, "
              << human_seconds(progress.spent) << " spent ("
              << std::lround(100 * progress.spent / progress.predicted_finished) << " %)\n";
  }
  if (!outcome.interrupted) return;
  std::cout << plural(outcome.left, "run")
            << " left: interrupted, or too long for the time that was "
            << "left; the same command with --run-tag " << folder.filename().string()
            << (settings.out == "data/runs" ? "" : " --out " + settings.out)
            << (settings.part.empty() ? "" : " --part " + settings.part) << " resumes\n";
}

int reduce_and_print(const fs::path& folder) {
  const reduce::ReduceReport report = reduce::reduce(folder);
  std::cout << report.text() << "run folder: " << folder.string() << "\n";
  return report.failed + report.unproven > 0 ? 4 : 0;
}

// Other parts may be at work, so the aggregates are for later.
int end_of_part(const sweep::SweepOutcome& outcome, const fs::path& folder) {
  std::cout
      << "run folder: " << folder.string()
      << "\nwhen all parts are done: the same command with --reduce-only and without --part\n";
  return outcome.failed + outcome.unproven > 0 ? 4 : 0;
}

Engine engine_of(const Settings& settings) {
  return resolve(settings.backend, settings.compute);
}

sweep::PlanOptions plan_options(const Settings& settings, const sweep::Rates& rates) {
  const Engine engine = engine_of(settings);
  return {settings.only, settings.repeats, rates, std::string(name_of(engine.compute)),
          std::string(name_of(engine.backend))};
}

// The whole job runs on what rank 0 finds: run ids depend on it.
Settings agreed(Settings settings, const comm::Communicator& communicator) {
  std::string text;
  comm::coordinated(communicator, [&] {
    if (communicator.rank() != 0) return;
    const Engine engine = engine_of(settings);
    text = std::string(name_of(engine.backend)) + " " + std::string(name_of(engine.compute));
  });
  text = communicator.broadcast(text, 0);
  settings.backend = text.substr(0, text.find(' '));
  settings.compute = text.substr(text.find(' ') + 1);
  return settings;
}

NodePlace place_of(const Settings& settings, const comm::Communicator& communicator) {
  return {communicator.local_rank(), communicator.local_size(), settings.allow_sharing};
}

// What rank 0 reaches here, told to all, since every rank must make the same plan. The engine's
// matrix products reach about half of either ceiling (measured on the miniatures with one thread).
sweep::Rates measured_rates(const Settings& settings, const comm::Communicator& communicator) {
  constexpr double engine_share = 0.5;
  sweep::Rates rates;
  std::string text;
  comm::coordinated(communicator, [&] {
    if (communicator.rank() != 0) return;
    const int threads =
        settings.threads > 0 ? settings.threads : threads_of_rank(communicator.local_size());
    const auto context =
        make_context(engine_of(settings), threads, place_of(settings, communicator));
    const eval::Ceilings ceilings = eval::measure_ceilings(context, 64u << 20);
    text =
        nlohmann::json({engine_share * ceilings.flops_per_s, engine_share * ceilings.bytes_per_s})
            .dump();
  });
  const nlohmann::json values = nlohmann::json::parse(communicator.broadcast(text, 0));
  rates.flops_per_s = values.at(0);
  rates.bytes_per_s = values.at(1);
  return rates;
}

// Rank 0's clock and environment speak for all.
sweep::Deadline deadline_of(const Settings& settings, const comm::Communicator& communicator) {
  sweep::Deadline deadline;
  comm::coordinated(communicator, [&] {
    if (communicator.rank() == 0) deadline = sweep::Deadline::read(settings.until);
  });
  const nlohmann::json told = nlohmann::json::parse(communicator.broadcast(
      deadline.any() ? nlohmann::json({deadline.epoch(), deadline.source()}).dump() : "[]", 0));
  return told.empty() ? deadline : sweep::Deadline::at(told.at(0), told.at(1));
}

fs::path folder_of(const Settings& settings, const sweep::Study& study,
                   const comm::Communicator& communicator) {
  // Rank 0's clock names the folder for all.
  const std::string tag =
      communicator.broadcast(settings.tag.empty() ? utc_now_compact() : settings.tag, 0);
  return sweep::run_folder(settings.out, study.name, tag);
}

// Parts are dealt by costs of the planner's own rates: measured ones differ from part to part.
sweep::Part part_of(const Settings& settings, const sweep::Plan& plan) {
  sweep::Part part = sweep::parse_part(settings.part);
  if (!part.whole())
    part.runs = sweep::runs_of_part(sweep::make_plan(plan.study, plan_options(settings, {})), part);
  return part;
}

sweep::SweepOptions sweep_options(const Settings& settings, const comm::Communicator& communicator,
                                  const fs::path& folder, const sweep::Plan& plan,
                                  const sweep::Deadline& deadline) {
  sweep::SweepOptions options;
  options.folder = folder;
  options.study_text = read_file(plan.study.file, max_study_bytes);
  const int threads =
      settings.threads > 0 ? settings.threads : threads_of_rank(communicator.local_size());
  const Engine engine = engine_of(settings);
  const NodePlace place = place_of(settings, communicator);
  // Staging needs no GPU, so that a login node can do it.
  if (!settings.prep_only) {
    options.context = make_context(engine, threads, place);
    options.memory_bytes = resident_bytes(engine, place);
  }
  options.retry_failed = settings.retry_failed;
  options.prep_only = settings.prep_only;
  options.force = settings.force;
  options.load = *parse_name<sweep::LoadMode>(settings.load);
  options.deadline = deadline;
  options.part = part_of(settings, plan);
  if (communicator.rank() == 0) {
    options.environment = record::environment({{"ranks", communicator.size()}}).dump();
    options.progress = make_progress(plan);
    options.tell = [](const std::string& notice) { std::cerr << notice << std::endl; };
  }
  return options;
}

// What a rank printed may still be on its way when srun ends, and is lost then: batch files name a
// file for the code. Where it cannot be written, they look for the printed line.
void leave_exit_code(int code) {
  const char* file = std::getenv("QSWEEP_EXIT_CODE_FILE");
  if (file == nullptr || *file == '\0') return;
  try {
    write_file_atomic(file, std::to_string(code) + "\n");
  } catch (const std::exception&) {
    // The code itself is the fault to tell.
  }
}

// A launcher ends every rank as soon as one has left with a failure: nobody leaves before the rank
// that tells it has done so. srun may then report the signal by which it ended the others; batch
// files go by what rank 0 left behind here.
int failures_told(const comm::Communicator& communicator, const std::function<int()>& work) {
  int code = 0;
  try {
    code = work();
  } catch (const comm::SharedError& error) {
    code = exit_code(error.kind());
    if (error.speaks()) report(error.what(), code);
  }
  if (code == 0 || communicator.size() == 1) return code;
  if (communicator.rank() == 0) {
    std::cout << "exit code " << code << std::endl;
    leave_exit_code(code);
  }
  communicator.barrier();
  return code;
}

// The same plan on every rank, all of whose inputs are here: staged first, where that was asked
// for.
sweep::Plan plan_of_ranks(const Settings& settings, const comm::Communicator& communicator,
                          const sweep::Rates& rates, const std::string& prep_command) {
  const bool stages = settings.prep_only && communicator.rank() == 0;
  sweep::Study study;
  sweep::Plan plan;
  comm::coordinated(communicator, [&] {
    if (!settings.prep_only) comm::check_rank_count(communicator, settings.expect_ranks);
    study = sweep::read_study(settings.study, settings.overrides);
    if (stages) stage_inputs(study);
  });
  comm::coordinated(communicator, [&] {
    with_prep_advice(study, settings.prep_only ? "" : prep_command, [&] {
      plan = sweep::make_plan(study, plan_options(settings, rates));
      sweep::require_inputs(plan);
    });
    if (stages) prepare_tokens(plan);
  });
  return plan;
}

int sweep_as_rank(const comm::Communicator& communicator, const Settings& asked,
                  const std::string& prep_command) {
  const Settings settings = agreed(asked, communicator);
  const bool speaks = communicator.rank() == 0;
  sweep::SweepOptions options;
  sweep::Rates rates;
  const sweep::Deadline deadline = deadline_of(settings, communicator);
  if (!settings.prep_only) rates = measured_rates(settings, communicator);
  const sweep::Plan plan = plan_of_ranks(settings, communicator, rates, prep_command);
  const fs::path folder = folder_of(settings, plan.study, communicator);
  comm::coordinated(communicator, [&] {
    options = sweep_options(settings, communicator, folder, plan, deadline);
  });
  if (speaks) {
    std::cout << sweep::plan_text(plan, communicator.size() * options.part.count)
              << "run folder: " << folder.string() << "\n";
    if (!options.part.whole()) {
      std::cout << "part " << options.part.text() << ": " << options.part.runs.size()
                << " of the runs\n";
    }
    if (deadline.any()) {
      std::cout << "time left: " << human_seconds(deadline.seconds_left()) << " ("
                << deadline.source() << "); nothing is started that would not end in it\n";
    }
    std::cout << std::flush;
  }
  const sweep::SweepOutcome outcome = sweep::run_sweep(communicator, plan, options);
  int code = 0;
  comm::coordinated(communicator, [&] {
    if (!speaks) return;
    if (settings.prep_only) {
      std::cout << "staged: " << folder.string() << "\n";
      return;
    }
    print_summary(outcome, settings, folder);
    if (outcome.interrupted) throw Error(ErrorKind::interrupted, "interrupted, resumable");
    code = options.part.whole() ? reduce_and_print(folder) : end_of_part(outcome, folder);
  });
  return std::stoi(communicator.broadcast(std::to_string(code), 0));
}

int sweep_on_ranks(const Settings& asked, const std::string& prep_command) {
  catch_signals();
  const OrphanGuard guard;
  const comm::Communicator communicator;
  return failures_told(communicator,
                       [&] { return sweep_as_rank(communicator, asked, prep_command); });
}

// The reducer is one rank; others that a launcher started wait for its exit code.
int reduce_as_rank(const comm::Communicator& communicator, const Settings& settings) {
  int code = 0;
  comm::coordinated(communicator, [&] {
    if (communicator.rank() != 0) return;
    const sweep::Study study = sweep::read_study(settings.study, settings.overrides);
    if (settings.tag.empty()) {
      throw_invalid("--reduce-only needs --run-tag", "it names the run folder to aggregate");
    }
    code = reduce_and_print(sweep::run_folder(settings.out, study.name, settings.tag));
  });
  return std::stoi(communicator.broadcast(std::to_string(code), 0));
}

int reduce_on_one_rank(const Settings& settings) {
  const comm::Communicator communicator;
  return failures_told(communicator, [&] { return reduce_as_rank(communicator, settings); });
}

std::string budget(const sweep::Plan& plan, int64_t ranks, const sweep::RecordedCosts& recorded,
                   const Settings& settings) {
  return sweep::budget_text(sweep::Schedule(plan, ranks, recorded).simulation(), ranks,
                            engine_of(settings).backend == device::Backend::cuda,
                            sweep::time_limit_seconds(settings.time_limit));
}

int print_plan(const Settings& settings) {
  const sweep::Study study = sweep::read_study(settings.study, settings.overrides);
  sweep::Rates rates;
  if (settings.flops_per_s > 0) rates.flops_per_s = settings.flops_per_s;
  if (settings.bytes_per_s > 0) rates.bytes_per_s = settings.bytes_per_s;
  const sweep::Plan plan = sweep::make_plan(study, plan_options(settings, rates));
  sweep::RecordedCosts recorded;
  if (!settings.costs.empty()) recorded = sweep::read_recorded_costs(settings.costs, plan);
  for (const int64_t ranks : settings.ranks) {
    const bool first = ranks == settings.ranks.front();
    std::cout << (first ? sweep::plan_text(plan, ranks, recorded)
                        : "\n" + sweep::Schedule(plan, ranks, recorded).summary());
    if (!settings.time_limit.empty()) std::cout << budget(plan, ranks, recorded, settings);
  }
  return 0;
}

}  // namespace

int sweep_command(const Arguments& arguments) {
  std::string usage;
  const Settings settings = parse_settings(arguments, usage);
  if (settings.help) {
    std::cout << usage;
    return 0;
  }
  if (settings.version) {
    std::cout << version_text() << "\n";
    return 0;
  }
  if (settings.plan) return print_plan(settings);
  return settings.reduce_only
             ? reduce_on_one_rank(settings)
             : sweep_on_ranks(settings, prep_command(program_invocation_name, arguments));
}

}  // namespace qsweep::app
