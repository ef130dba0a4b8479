#include "sweep/run_folder.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/checkpoint.hpp"
#include "record/read_ahead.hpp"
#include "sweep/locate.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

nlohmann::json model_manifest(const Plan& plan) {
  nlohmann::json json = {{"name", plan.study.model}, {"fingerprint", plan.model_fingerprint}};
  if (plan.model_fingerprint.empty()) return json;
  const auto checkpoint = model::Checkpoint::open(locate_model(plan.study));
  json["folder"] = checkpoint->folder().string();
  for (const auto& file : checkpoint->files()) {
    json["files"].push_back({{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  }
  return json;
}

// The stored plan of a resumed tag must be of the same study; its claims hash stays. True where it
// holds all of this plan and more (a part was asked for with --only): then it stays whole, or the
// rest would be forgotten.
bool keep_registration(const fs::path& plan_file, const Plan& plan, nlohmann::json& json) {
  if (!file_exists(plan_file)) return false;
  const PlanManifest stored = read_plan_manifest(plan_file);
  std::set<std::string> ids;
  for (const auto& run : stored.runs) ids.insert(run.id);
  const auto known = std::count_if(plan.runs.begin(), plan.runs.end(),
                                   [&](const Run& run) { return ids.contains(run.id); });
  if (!plan.runs.empty() && !ids.empty() && known == 0) {
    throw_invalid(
        "the run folder " + plan_file.parent_path().parent_path().string() + " holds another study",
        "none of its run ids is in this plan: model, configs or workloads differ",
        "choose another --run-tag");
  }
  json["claims_hash"] = stored.claims_hash;
  return static_cast<size_t>(known) == plan.runs.size() && known < static_cast<long>(ids.size()) &&
         claims_hash(stored.claims) == claims_hash(plan.study.claims);
}

size_t remove_leftovers(const fs::path& folder) {
  size_t removed = 0;
  std::error_code code;
  std::vector<fs::path> leftovers;
  for (fs::recursive_directory_iterator it(folder, code), end; !code && it != end;
       it.increment(code)) {
    // The name first: it is there for nothing, and the type may be a request to a file server.
    if (it->path().native().ends_with(temporary_suffix) && it->is_regular_file(code))
      leftovers.push_back(it->path());
  }
  for (const fs::path& leftover : leftovers) removed += fs::remove(leftover, code) ? 1 : 0;
  return removed;
}

}  // namespace

fs::path run_folder(const fs::path& out, const std::string& study, const std::string& tag) {
  for (const std::string& name : {study, tag}) {
    if (!is_safe_name(name)) {
      throw_invalid("'" + name + "' cannot be a folder name",
                    "letters, digits, '.', '_', '+', '-', not starting with '.' or '-'",
                    "choose another study name or --run-tag");
    }
  }
  return out / study / tag;
}

void stage(const fs::path& folder, const Plan& plan, const std::string& study_text,
           const nlohmann::json& environment) {
  const fs::path plan_file = folder / "manifests" / "plan.json";
  nlohmann::json plan_json = plan_to_json(plan);
  const bool keep_plan = keep_registration(plan_file, plan, plan_json);
  write_file_atomic(folder / "configs" / "study.yaml", study_text);
  write_file_atomic(folder / "configs" / "resolved.yaml", to_yaml(plan.study));
  // A path need not be UTF-8, JSON must be.
  const auto text = [](const nlohmann::json& json) {
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  };
  write_file_atomic(folder / "manifests" / "env_info.json", text(environment));
  write_file_atomic(folder / "manifests" / "model.json", text(model_manifest(plan)));
  if (!keep_plan) write_file_atomic(plan_file, plan_json.dump(1) + "\n");
  fs::create_directories(folder / "logs");
  fs::create_directories(folder / "results");
}

void for_each_state(const fs::path& folder, const std::vector<std::string>& paths,
                    const std::function<void(size_t, const record::RunState&)>& take) {
  std::vector<fs::path> files;
  files.reserve(paths.size());
  for (const std::string& path : paths) files.push_back(folder / path);
  record::read_ahead(files, [&](size_t i, const record::SealedFile& file) {
    if (!file.there) return;
    record::RunState state{"", "unreadable", file.problem, 0, 0};
    if (file.problem.empty()) {
      try {
        state = record::parse_run_state(file.bytes, files[i].string());
      } catch (const Error& error) {
        state.error = error.what();
      }
    }
    take(i, state);
  });
}

Finished find_finished(const fs::path& folder, const Plan& plan, bool retry_failed) {
  Finished finished;
  finished.removed = remove_leftovers(folder);
  std::vector<std::string> paths;
  for (const Run& run : plan.runs) paths.push_back(run.path);
  for_each_state(folder, paths, [&](size_t i, const record::RunState& state) {
    if (state.run_id != plan.runs[i].id) return;  // another run, or none: done again and replaced
    const bool ok = state.status == "ok";
    if (!ok && retry_failed) return;
    finished.failed += ok ? 0 : 1;
    finished.runs.insert(i);
  });
  return finished;
}

}  // namespace qsweep::sweep
