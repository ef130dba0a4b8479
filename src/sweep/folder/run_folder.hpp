// data/runs/<study>/<run_tag>/: what stands there before the first run, and which runs are already
// finished.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "record/record.hpp"
#include "sweep/plan/part.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

// The parent, the study and the tag are checked to be safe names.
std::filesystem::path run_folder(const std::filesystem::path& out, const std::string& study,
                                 const std::string& tag);

// Writes configs/ (study.yaml as given, resolved.yaml) and manifests/ (env_info, model, datasets,
// plan). On a
// resumed tag the stored plan's claims_hash stays (later claims are exploratory) and another study
// is refused. A part writes nothing where the plan is there: others of its kind are reading it.
// `study_text`: the YAML as given. Throws Error{invalid_input} or Error{io}.
void stage(const std::filesystem::path& folder, const Plan& plan, const std::string& study_text,
           const nlohmann::json& environment, const Part& part = {});

// Calls take(i, state) for every path (below `folder`) that is a file, in order. One whose seal
// does not hold, or that is no record, has the status "unreadable", its reason, and no run id.
void for_each_state(const std::filesystem::path& folder, const std::vector<std::string>& paths,
                    const std::function<void(size_t, const record::RunState&)>& take);

struct Finished {
  std::set<size_t> runs;  // indices into plan.runs with a readable record of the same id
  size_t failed = 0;      // of these, recorded as failed
  size_t removed = 0;     // leftovers of dead processes that were cleaned
};
// What need not run again, of the part's runs. `retry_failed`: failed and unproven runs count as
// unfinished.
Finished find_finished(const std::filesystem::path& folder, const Plan& plan, bool retry_failed,
                       const Part& part = {});

}  // namespace qsweep::sweep
