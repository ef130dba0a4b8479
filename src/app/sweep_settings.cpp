#include "app/sweep_settings.hpp"

#include <algorithm>
#include <boost/program_options.hpp>
#include <sstream>

#include "base/error.hpp"
#include "sweep/base_weights.hpp"

namespace qsweep::app {
namespace {

namespace po = boost::program_options;

po::options_description describe(Settings& s) {
  po::options_description options("options");
  options.add_options()("help,h", po::bool_switch(&s.help), "print this text")(
      "version", po::bool_switch(&s.version), "print the version")(
      "out", po::value(&s.out)->default_value(s.out), "parent of run folders")(
      "run-tag", po::value(&s.tag),
      "name of the run folder (default: UTC time); an existing one is resumed")(
      "plan", po::bool_switch(&s.plan),
      "print cells, costs, memory, refused combinations; touch nothing")(
      "ranks", po::value(&s.ranks)->multitoken()->default_value(s.ranks, "1"),
      "ranks to plan for, one or more numbers")(
      "time-limit", po::value(&s.time_limit),
      "set the plan beside this time limit of a job, as Slurm writes it: 90, 4:00:00, 1-12:00:00")(
      "costs", po::value(&s.costs),
      "plan with the costs recorded in this run folder of the same study")(
      "flops", po::value(&s.flops_per_s)->default_value(0, "of one CPU core"),
      "plan with this matrix rate of a rank [FLOP/s]")(
      "bandwidth", po::value(&s.bytes_per_s)->default_value(0, "of one CPU core"),
      "plan with this read rate of a rank [byte/s]")(
      "prep-only", po::bool_switch(&s.prep_only),
      "download what the study needs, write configs and manifests, run nothing")(
      "reduce-only", po::bool_switch(&s.reduce_only), "aggregate what is there")(
      "backend", po::value(&s.backend)->default_value(s.backend), "auto, cpu or cuda")(
      "compute", po::value(&s.compute)->default_value(s.compute),
      "activations between ops: fp32 or bf16; auto is fp32 on the CPU, bf16 on the GPU")(
      "load", po::value(&s.load)->default_value(s.load),
      "how weights reach the GPUs of a node: broadcast (one rank reads), each, or auto")(
      "allow-sharing", po::bool_switch(&s.allow_sharing), "let ranks of a node share a GPU")(
      "threads", po::value(&s.threads)->default_value(0, "cores of the rank"), "threads of a rank")(
      "only", po::value(&s.only)->composing(),
      "keep runs whose id, config, workload or path matches a glob")(
      "repeats", po::value(&s.repeats)->default_value(0, "the study's"), "repeats of every cell")(
      "set", po::value(&s.overrides)->composing(), "override a key of the study: key=value")(
      "until", po::value(&s.until),
      "the end of the job: +90m, +1h30m, or 2026-01-31T12:00:00Z (default: SLURM_JOB_END_TIME)")(
      "part", po::value(&s.part),
      "K/N: only the K-th of N parts of the runs, beside other parts in the same run folder")(
      "retry-failed", po::bool_switch(&s.retry_failed), "run failed and unproven runs again")(
      "force", po::bool_switch(&s.force), "take the run folder over from another sweep")(
      "expect-ranks", po::value(&s.expect_ranks)->default_value(0, "SLURM_NTASKS"),
      "ranks there must be");
  return options;
}

void check(const Settings& s) {
  constexpr size_t max_plans = 32;
  const bool ranks = !s.ranks.empty() && s.ranks.size() <= max_plans &&
                     std::ranges::all_of(s.ranks, [](int64_t n) { return n >= 1 && n <= 1000000; });
  const auto is_rate = [](double rate) { return rate >= 0 && rate <= 1e18; };
  if (!is_rate(s.flops_per_s) || !is_rate(s.bytes_per_s)) {
    throw_invalid("an option is out of range", "--flops and --bandwidth 0..1e18");
  }
  if (!s.part.empty() && (s.plan || s.prep_only || s.reduce_only)) {
    throw_invalid("--part goes with a sweep alone",
                  "plan, prep and reducer take all parts together");
  }
  if (!parse_name<sweep::LoadMode>(s.load)) {
    throw_invalid("unknown way of loading '" + s.load + "'", "known are auto, broadcast, each");
  }
  if (s.repeats < 0 || s.repeats > 100000 || !ranks || s.threads < 0 || s.threads > 1024 ||
      s.expect_ranks < 0) {
    throw_invalid("an option is out of range",
                  "--repeats 0..100000, --ranks 1..1000000, --threads 0..1024, --expect-ranks 0..");
  }
}

}  // namespace

Settings parse_settings(const Arguments& arguments, std::string& usage) {
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
  check(settings);
  return settings;
}

}  // namespace qsweep::app
