// What a person who looks on wants to know of a run folder, without a lock, without MPI and without
// reading every record: names in results/ tell what is finished, the ranks' logs how it ended.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

namespace qsweep::sweep {

// Records that lie in results/, by their path below `folder`.
std::set<std::string> present_records(const std::filesystem::path& folder);

// {run id: how its last end was logged: ok, failed, unproven}. A log that cannot be read, or a line
// that is none, says nothing.
std::map<std::string, std::string> logged_ends(const std::filesystem::path& folder);

}  // namespace qsweep::sweep
