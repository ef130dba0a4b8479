// qsweep [STUDY.yaml] [options]: plan, stage, sweep, reduce.
#include <boost/program_options.hpp>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/machine.hpp"
#include "app/progress.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "comm/communicator.hpp"
#include "eval/workload.hpp"
#include "record/provenance.hpp"
#include "reduce/reduce.hpp"
#include "sweep/inputs.hpp"
#include "sweep/run_folder.hpp"
#include "sweep/sweep.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr uint64_t max_study_bytes = 1 << 20;

struct Settings {
  std::string study = "configs/quickstart.yaml";
  std::string out = "data/runs", tag, backend = "auto", compute = "auto";
  std::vector<std::string> only, overrides;
  int64_t repeats = 0, ranks = 0;
  int expect_ranks = 0, threads = 0;
  bool allow_sharing = false;
  bool plan = false, prep_only = false, reduce_only = false, retry_failed = false, help = false,
       version = false;
};

po::options_description describe(Settings& s) {
  po::options_description options("options");
  options.add_options()("help,h", po::bool_switch(&s.help), "print this text")(
      "version", po::bool_switch(&s.version), "print the version")(
      "out", po::value(&s.out)->default_value(s.out), "parent of run folders")(
      "run-tag", po::value(&s.tag),
      "name of the run folder (default: UTC time); an existing one is resumed")(
      "plan", po::bool_switch(&s.plan),
      "print cells, costs, memory, refused combinations; touch nothing")(
      "ranks", po::value(&s.ranks)->default_value(1, "1"), "ranks to plan for")(
      "prep-only", po::bool_switch(&s.prep_only), "stage configs and manifests, run nothing")(
      "reduce-only", po::bool_switch(&s.reduce_only), "aggregate what is there")(
      "backend", po::value(&s.backend)->default_value(s.backend), "auto, cpu or cuda")(
      "compute", po::value(&s.compute)->default_value(s.compute),
      "activations between ops: fp32 or bf16; auto is fp32 on the CPU, bf16 on the GPU")(
      "allow-sharing", po::bool_switch(&s.allow_sharing), "let ranks of a node share a GPU")(
      "threads", po::value(&s.threads)->default_value(0, "cores of the rank"), "threads of a rank")(
      "only", po::value(&s.only)->composing(),
      "keep runs whose id, config, workload or path matches a glob")(
      "repeats", po::value(&s.repeats)->default_value(0, "the study's"), "repeats of every cell")(
      "set", po::value(&s.overrides)->composing(), "override a key of the study: key=value")(
      "retry-failed", po::bool_switch(&s.retry_failed), "run failed and unproven runs again")(
      "expect-ranks", po::value(&s.expect_ranks)->default_value(0, "SLURM_NTASKS"),
      "ranks there must be");
  return options;
}

Settings parse(const Arguments& arguments, std::string& usage) {
  Settings settings;
  const po::options_description visible = describe(settings);
  po::options_description all;
  all.add(visible).add_options()("study",
                                 po::value(&settings.study)->default_value(settings.study));
  po::positional_options_description positional;
  positional.add("study", 1);
  po::variables_map values;
  po::store(po::command_line_parser(arguments).options(all).positional(positional).run(), values);
  po::notify(values);
  std::ostringstream text;
  text << "usage: qsweep [STUDY.yaml] [options]\n"
          "       qsweep tokenize|generate|quantize|make-model|inspect|status|doctor --help\n\n"
       << visible
       << "\nexit codes: 0 done; 2 wrong usage or invalid study; 3 no GPU; 4 some runs failed;\n"
          "            75 interrupted, resumable; 1 anything else\n";
  usage = text.str();
  if (settings.repeats < 0 || settings.repeats > 100000 || settings.ranks < 1 ||
      settings.ranks > 1000000 || settings.threads < 0 || settings.threads > 1024) {
    throw_invalid("an option is out of range",
                  "--repeats 0..100000, --ranks 1..1000000, --threads 0..1024");
  }
  return settings;
}

extern "C" void on_signal(int) {
  sweep::request_stop();
}

// Before MPI starts, so that a signal never finds the default action.
void catch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
}

void print_summary(const sweep::SweepOutcome& outcome, const fs::path& folder) {
  std::cout << "\n" << outcome.finished << " runs in " << human_seconds(outcome.seconds);
  if (outcome.resumed > 0) std::cout << ", " << outcome.resumed << " found finished";
  std::cout << "\n";
  for (size_t r = 0; r < outcome.tallies.size(); ++r) {
    const sweep::RankTally& tally = outcome.tallies[r];
    const double share = outcome.seconds > 0 ? 100 * tally.busy_seconds / outcome.seconds : 0;
    std::cout << "  rank " << r << ": " << tally.runs << " runs, busy "
              << human_seconds(tally.busy_seconds) << " (" << std::lround(share) << " %)\n";
    if (r == 15 && outcome.tallies.size() > 16) {
      std::cout << "  ... " << outcome.tallies.size() - 16 << " more ranks\n";
      break;
    }
  }
  if (outcome.interrupted) {
    std::cout << "interrupted; the same command with --run-tag " << folder.filename().string()
              << " resumes it\n";
  }
}

int reduce_and_print(const fs::path& folder) {
  const reduce::ReduceReport report = reduce::reduce(folder);
  std::cout << report.text() << "run folder: " << folder.string() << "\n";
  return report.failed + report.unproven > 0 ? 4 : 0;
}

Engine engine_of(const Settings& settings) {
  return resolve(settings.backend, settings.compute);
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

fs::path folder_of(const Settings& settings, const sweep::Study& study,
                   const comm::Communicator& communicator) {
  // Rank 0's clock names the folder for all.
  const std::string tag =
      communicator.broadcast(settings.tag.empty() ? utc_now_compact() : settings.tag, 0);
  return sweep::run_folder(settings.out, study.name, tag);
}

sweep::SweepOptions sweep_options(const Settings& settings, const comm::Communicator& communicator,
                                  const fs::path& folder, const sweep::Plan& plan) {
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
  if (communicator.rank() == 0) {
    options.environment = record::environment({{"ranks", communicator.size()}}).dump();
    options.progress = make_progress(plan);
  }
  return options;
}

int sweep_on_ranks(const Settings& asked) {
  catch_signals();
  const comm::Communicator communicator;
  const Settings settings = agreed(asked, communicator);
  const bool speaks = communicator.rank() == 0;
  sweep::Plan plan;
  fs::path folder;
  sweep::SweepOptions options;
  sweep::Rates rates;
  if (!settings.prep_only) rates = measured_rates(settings, communicator);
  comm::coordinated(communicator, [&] {
    if (!settings.prep_only) comm::check_rank_count(communicator, settings.expect_ranks);
    const sweep::Study study = sweep::read_study(settings.study, settings.overrides);
    plan = sweep::make_plan(study, {settings.only, settings.repeats, rates, settings.compute});
    sweep::require_inputs(plan);
  });
  folder = folder_of(settings, plan.study, communicator);
  comm::coordinated(communicator,
                    [&] { options = sweep_options(settings, communicator, folder, plan); });
  if (speaks) {
    std::cout << sweep::plan_text(plan, communicator.size()) << "run folder: " << folder.string()
              << "\n"
              << std::flush;
  }
  const sweep::SweepOutcome outcome = sweep::run_sweep(communicator, plan, options);
  int code = 0;
  comm::coordinated(communicator, [&] {
    if (!speaks) return;
    if (settings.prep_only) {
      std::cout << "staged: " << folder.string() << "\n";
      return;
    }
    print_summary(outcome, folder);
    if (outcome.interrupted) throw Error(ErrorKind::interrupted, "interrupted, resumable");
    code = reduce_and_print(folder);
  });
  return std::stoi(communicator.broadcast(std::to_string(code), 0));
}

// The reducer is one rank; others that a launcher started wait for its exit code.
int reduce_on_one_rank(const Settings& settings) {
  const comm::Communicator communicator;
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

}  // namespace

int sweep_command(const Arguments& arguments) {
  std::string usage;
  const Settings settings = parse(arguments, usage);
  if (settings.help) {
    std::cout << usage;
    return 0;
  }
  if (settings.version) {
    std::cout << version_text() << "\n";
    return 0;
  }
  if (settings.plan) {
    const sweep::Study study = sweep::read_study(settings.study, settings.overrides);
    const sweep::Plan plan = sweep::make_plan(
        study,
        {settings.only, settings.repeats, {}, std::string(name_of(engine_of(settings).compute))});
    std::cout << sweep::plan_text(plan, settings.ranks);
    return 0;
  }
  return settings.reduce_only ? reduce_on_one_rank(settings) : sweep_on_ranks(settings);
}

}  // namespace qsweep::app
