#include "sweep/plan/locate.hpp"

#include "base/files.hpp"
#include "model/checkpoint.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;

bool has_model(const Study& study) {
  return study.model != "none" && !study.model.empty();
}

fs::path locate_model(const Study& study) {
  return locate_model(study.model, study.file);
}

fs::path locate_model(const std::string& name, const fs::path& study_file) {
  for (const fs::path& folder : search_folders(study_file)) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / name / "config.json", ignored)) return folder / name;
  }
  return model::resolve_model(name, fs::current_path());
}

bool is_local_model(const std::string& name, const fs::path& study_file) {
  std::error_code ignored;
  for (const fs::path& folder : search_folders(study_file)) {
    if (fs::is_regular_file(folder / name / "config.json", ignored)) return true;
  }
  return fs::is_directory(fs::current_path() / name, ignored);
}

}  // namespace qsweep::sweep
