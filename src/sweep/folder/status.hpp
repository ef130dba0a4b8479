// Words for `qsweep status`: what the sweep in a run folder does and which of its ranks live, from
// manifests/progress*.json (progress_file.hpp) and manifests/ranks/ (rank_beat.hpp).
#pragma once

#include <filesystem>
#include <string>

namespace qsweep::sweep {

// Empty where no sweep has begun. Throws Error{invalid_input} on a damaged progress file.
std::string status_text(const std::filesystem::path& folder);

}  // namespace qsweep::sweep
