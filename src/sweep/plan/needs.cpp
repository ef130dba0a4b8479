#include "sweep/plan/needs.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "eval/workload.hpp"
#include "sweep/plan/dataset_list.hpp"
#include "sweep/plan/locate.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

// A fuser in a folder has no config.json that would tell it from any other folder.
bool is_local(const std::string& name, stage::ModelPart part, const fs::path& study_file) {
  if (part == stage::ModelPart::checkpoint) return is_local_model(name, study_file);
  std::error_code ignored;
  return std::ranges::any_of(search_folders(study_file), [&](const fs::path& folder) {
    return fs::is_directory(folder / name, ignored);
  });
}

void add_model(StudyNeeds& all, const std::string& name, const Study& study,
               stage::ModelNeed need) {
  if (name.empty() || is_local(name, need.part, study.file)) return;
  const auto id = stage::parse_hub_id(name);
  if (!id) {
    throw_invalid("model '" + name + "' cannot be staged", "it is no folder here and no hub id",
                  "a hub id reads org/name or org/name@revision");
  }
  need.id = *id;
  const bool known = std::ranges::any_of(all.needs.models, [&](const stage::ModelNeed& other) {
    return other.id.text() == id->text() && other.part == need.part &&
           other.receiver == need.receiver && other.sharer == need.sharer;
  });
  if (!known) all.needs.models.push_back(std::move(need));
}

void add_models(StudyNeeds& all, const Study& study) {
  if (has_model(study)) add_model(all, study.model, study, {});
  for (const quant::QuantConfig& config : study.configs) {
    if (!config.sharer) continue;
    add_model(all, config.sharer->model, study, {});
    add_model(all, config.sharer->fuser, study,
              {{}, stage::ModelPart::fuser, study.model, config.sharer->model});
  }
}

// A name rather than a file's path.
bool is_dataset_name(const std::string& data) {
  return is_safe_name(data) && data.find('.') == std::string::npos;
}

// Names of the datasets that the study reads, but for files of the user's own.
std::set<std::string> dataset_names(const Study& study) {
  std::set<std::string> names;
  const auto add = [&](const std::string& data) {
    if (is_dataset_name(data)) names.insert(data);
  };
  if (study.calibration) add(study.calibration->data);
  for (const Workload& workload : study.workloads) {
    for (const eval::Cell& cell : workload.cells) {
      if (const auto* perplexity = std::get_if<eval::PerplexityParams>(&cell.params))
        add(perplexity->data);
      const auto* later = std::get_if<eval::LaterParams>(&cell.params);
      if (cell.kind != eval::WorkloadKind::tasks || later == nullptr) continue;
      const nlohmann::json params = nlohmann::json::parse(later->json);
      const std::string task = params.at("name");
      if (is_shipped_task(task)) continue;
      names.insert(task);
      if (params.at("shots").get<int64_t>() > 0) names.insert(task + "_train");
    }
  }
  return names;
}

// A text of the user's own under the dataset's name goes before what would be staged.
bool has_own_text(const std::string& name, const Study& study) {
  try {
    return eval::find_text(name, study.file).extension() != ".jsonl";
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

bool is_shipped_task(const std::string& name) {
  return name == "choice" || name == "arithmetic";
}

StudyNeeds needs_of(const Study& study) {
  StudyNeeds all;
  add_models(all, study);
  all.needs.dataset_folder = stage::dataset_folder(study.file);
  std::set<std::string> names = dataset_names(study);
  std::erase_if(names, [&](const std::string& name) { return has_own_text(name, study); });
  if (names.empty()) return all;
  const fs::path list = find_dataset_list(study.file);
  for (stage::DatasetSource& source : read_dataset_list(list)) {
    const auto wanted = [&](const stage::DatasetFile& file) { return names.contains(file.name); };
    if (!std::ranges::any_of(source.files, wanted)) continue;
    for (const auto& file : source.files) names.erase(file.name);
    all.needs.datasets.push_back(std::move(source));
  }
  for (const std::string& name : names) {
    all.notices.push_back(list.string() + " knows no dataset '" + name + "': put " +
                          stage::dataset_path(all.needs.dataset_folder, name).string() +
                          " there by hand, or add its source to a list of your own");
  }
  return all;
}

std::vector<std::string> unstaged(const StudyNeeds& all) {
  std::vector<std::string> missing;
  for (const stage::ModelNeed& need : all.needs.models) {
    if (!stage::is_model_staged(need)) missing.push_back("model " + need.id.text());
  }
  for (const stage::DatasetSource& source : all.needs.datasets) {
    if (!stage::is_staged(source, all.needs.dataset_folder))
      missing.push_back("dataset " + source.name);
  }
  return missing;
}

}  // namespace qsweep::sweep
