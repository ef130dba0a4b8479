#include "sweep/folder/run_folder.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "record/read_ahead.hpp"
#include "sweep/plan/manifests.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view record_suffix = ".h5";

// What the stored plan has of this one.
enum class Stored { nothing, other, same, more };

// The stored plan of a resumed tag must be of the same study; its claims hash stays. Where it holds
// all of this plan and more (a part was asked for with --only) it stays whole, or the rest would be
// forgotten.
Stored find_registration(const fs::path& plan_file, const Plan& plan, nlohmann::json& json) {
  if (!file_exists(plan_file)) return Stored::nothing;
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
  if (static_cast<size_t>(known) != plan.runs.size() ||
      claims_hash(stored.claims) != claims_hash(plan.study.claims))
    return Stored::other;
  return known < static_cast<long>(ids.size()) ? Stored::more : Stored::same;
}

// Temporary files of dead ranks; of a part only those of its own records, `records` then (relative
// to `folder`): the others may belong to parts that live.
size_t remove_leftovers(const fs::path& folder, const std::set<std::string>* records) {
  size_t removed = 0;
  std::error_code code;
  std::vector<fs::path> leftovers;
  for (fs::recursive_directory_iterator it(folder, code), end; !code && it != end;
       it.increment(code)) {
    // The name first: it is there for nothing, and the type may be a request to a file server.
    if (!it->path().native().ends_with(temporary_suffix) || !it->is_regular_file(code)) continue;
    const std::string path = it->path().lexically_relative(folder).native();
    const size_t at = path.rfind(record_suffix);  // "r0.h5" of "r0.h5.4711-0.qsweep-tmp"
    const bool ours =
        records == nullptr ||
        (at != std::string::npos && records->contains(path.substr(0, at + record_suffix.size())));
    if (ours) leftovers.push_back(it->path());
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
           const nlohmann::json& environment, const Part& part) {
  const fs::path plan_file = folder / "manifests" / "plan.json";
  nlohmann::json plan_json = plan_to_json(plan);
  const Stored stored = find_registration(plan_file, plan, plan_json);
  fs::create_directories(folder / "logs");
  fs::create_directories(folder / "results");
  if (!part.whole() && stored == Stored::same) return;
  write_file_atomic(folder / "configs" / "study.yaml", study_text);
  write_file_atomic(folder / "configs" / "resolved.yaml", to_yaml(plan.study));
  // A path need not be UTF-8, JSON must be.
  const auto text = [](const nlohmann::json& json) {
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  };
  write_file_atomic(folder / "manifests" / "env_info.json", text(environment));
  write_file_atomic(folder / "manifests" / "model.json", text(model_manifest(plan)));
  write_file_atomic(folder / "manifests" / "datasets.json", text(dataset_manifest(plan)));
  if (stored != Stored::more) write_file_atomic(plan_file, plan_json.dump(1) + "\n");
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

Finished find_finished(const fs::path& folder, const Plan& plan, bool retry_failed,
                       const Part& part) {
  std::vector<size_t> runs;
  for (size_t i = 0; i < plan.runs.size(); ++i) {
    if (part.whole() || part.runs.contains(i)) runs.push_back(i);
  }
  std::vector<std::string> paths;
  for (const size_t run : runs) paths.push_back(plan.runs[run].path);
  Finished finished;
  const std::set<std::string> records(paths.begin(), paths.end());
  finished.removed = remove_leftovers(folder, part.whole() ? nullptr : &records);
  for_each_state(folder, paths, [&](size_t i, const record::RunState& state) {
    // Another run, or none: done again and replaced.
    if (state.run_id != plan.runs[runs[i]].id) return;
    const bool ok = state.status == "ok";
    if (!ok && retry_failed) return;
    finished.failed += ok ? 0 : 1;
    finished.runs.insert(runs[i]);
  });
  return finished;
}

}  // namespace qsweep::sweep
