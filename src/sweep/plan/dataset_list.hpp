// The list of datasets: configs/datasets.yaml, or a list of the user's own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "stage/datasets.hpp"

namespace qsweep::sweep {

// $QSWEEP_DATASETS, else datasets.yaml or configs/datasets.yaml in one of the search folders of the
// study. Throws Error{invalid_input} that says where it looked.
std::filesystem::path find_dataset_list(const std::filesystem::path& study_file);

// Tells every fault at once with file:line:column. Throws Error{invalid_input}.
std::vector<stage::DatasetSource> read_dataset_list(const std::filesystem::path& file);
std::vector<stage::DatasetSource> parse_dataset_list(const std::string& yaml,
                                                     const std::string& file_name);

}  // namespace qsweep::sweep
