#include <cstdlib>

#include "base/files.hpp"
#include "stage/datasets.hpp"

namespace qsweep::stage {
namespace fs = std::filesystem;
namespace {

constexpr const char* below = "data/datasets";

fs::path folder_of_environment() {
  const char* value = std::getenv("QSWEEP_DATA");
  return value == nullptr || *value == '\0' ? fs::path() : fs::path(value);
}

}  // namespace

std::vector<fs::path> dataset_folders(const fs::path& study_file) {
  std::vector<fs::path> folders;
  if (!folder_of_environment().empty()) folders.push_back(folder_of_environment());
  for (const fs::path& root : search_folders(study_file)) folders.push_back(root / below);
  return folders;
}

fs::path dataset_folder(const fs::path& study_file) {
  if (!folder_of_environment().empty()) return fs::absolute(folder_of_environment());
  std::error_code ignored;
  for (const fs::path& folder : dataset_folders(study_file)) {
    if (fs::is_directory(folder, ignored)) return folder;
  }
  return fs::current_path() / below;
}

fs::path dataset_path(const fs::path& folder, const std::string& name) {
  return folder / (name + ".jsonl");
}

fs::path manifest_path(const fs::path& folder, const std::string& source) {
  return folder / (source + ".manifest.json");
}

}  // namespace qsweep::stage
