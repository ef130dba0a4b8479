// What a study needs from elsewhere, whether it is here or not: models by hub id and datasets by
// name, those of workloads whose engine comes later included.
#pragma once

#include <string>
#include <vector>

#include "stage/staging.hpp"
#include "sweep/grammar/study.hpp"

namespace qsweep::sweep {

struct StudyNeeds {
  stage::Needs needs;
  std::vector<std::string> notices;  // names that no list knows; they must be brought by hand
};
// Throws Error{invalid_input} where a list of datasets is needed and has faults or is not there.
StudyNeeds needs_of(const Study& study);

// Of these, what is not here, in words; asks nobody.
std::vector<std::string> unstaged(const StudyNeeds& needs);

// Whether data/tasks ships the task, so that nothing need be staged for it.
bool is_shipped_task(const std::string& name);

}  // namespace qsweep::sweep
