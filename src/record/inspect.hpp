// A run file as text for a person: attributes, metrics with units, datasets with shapes,
// certificate rows.
#pragma once

#include <filesystem>
#include <string>

namespace qsweep::record {

std::string inspect_text(const std::filesystem::path& file);

}  // namespace qsweep::record
