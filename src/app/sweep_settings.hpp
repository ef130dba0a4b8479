// What the command line of a sweep says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/commands.hpp"

namespace qsweep::app {

struct Settings {
  std::string study = "configs/quickstart.yaml";
  std::string out = "data/runs", tag, backend = "auto", compute = "auto", load = "auto";
  std::string until, costs, part, time_limit;
  double flops_per_s = 0, bytes_per_s = 0;  // of a rank, to plan with; 0: the planner's own
  std::vector<std::string> only, overrides;
  std::vector<int64_t> ranks = {1};  // to plan for
  int64_t repeats = 0;
  int expect_ranks = 0, threads = 0;
  bool plan = false, prep_only = false, reduce_only = false, retry_failed = false, force = false;
  bool allow_sharing = false;
  bool help = false, version = false;
};

// `usage` gets the text of --help. Throws boost::program_options::error or Error{invalid_input}.
Settings parse_settings(const Arguments& arguments, std::string& usage);

}  // namespace qsweep::app
