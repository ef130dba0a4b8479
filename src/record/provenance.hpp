// Where and by what a run was made: attributes of a record, and the environment for
// manifests/env_info.json.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>

#include "record/record.hpp"

namespace qsweep::record {

// Sets qsweep_version, git_commit, git_dirty, compiler, host, cpu, rank, ranks and the Slurm ids.
void set_provenance(RunRecord& record, int64_t rank, int64_t ranks);

// Host, processor, memory, system, build, library versions, and the environment variables of the
// launcher and the thread and device libraries (never one whose name speaks of a secret). `extra`
// (an object) is merged in last.
nlohmann::json environment(const nlohmann::json& extra);

// Whether the variable belongs into a record.
bool is_recorded_variable(std::string_view name);

}  // namespace qsweep::record
