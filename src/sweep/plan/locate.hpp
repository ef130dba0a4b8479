// Where a study's model lies: a folder relative to the study or one of its parents, or a hub id in
// the cache.
#pragma once

#include <filesystem>

#include "sweep/grammar/study.hpp"

namespace qsweep::sweep {

// Whether the study names a model at all ("none": synthetic workloads only).
bool has_model(const Study& study);
// Throws Error{invalid_input} that says where it looked and how to stage it.
std::filesystem::path locate_model(const Study& study);
// The same for any name and study file.
std::filesystem::path locate_model(const std::string& name,
                                   const std::filesystem::path& study_file);

// Whether the name is a folder that locate_model would look at before any cache.
bool is_local_model(const std::string& name, const std::filesystem::path& study_file);

}  // namespace qsweep::sweep
