#include "sweep/locate.hpp"

#include "base/error.hpp"
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
  fs::path folder = fs::absolute(study_file).parent_path();
  for (int up = 0; up < 4; ++up) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / name / "config.json", ignored)) return folder / name;
    if (folder == folder.parent_path()) break;
    folder = folder.parent_path();
  }
  return model::resolve_model(name, fs::current_path());
}

}  // namespace qsweep::sweep
