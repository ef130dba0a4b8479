#include "sweep/plan/manifests.hpp"

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "eval/workload.hpp"
#include "model/checkpoint.hpp"
#include "sweep/plan/locate.hpp"
#include "sweep/plan/needs.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

constexpr uint64_t max_manifest_bytes = 1 << 20;

// <cache>/models--org--name/snapshots/<commit> says it all.
void add_origin(const Plan& plan, const fs::path& folder, json& manifest) {
  if (folder.parent_path().filename() != "snapshots") return;
  const auto id = stage::parse_hub_id(plan.study.model);
  if (!id) return;
  manifest["repository"] = id->repository();
  manifest["revision"] = id->revision;
  manifest["commit"] = folder.filename().string();
}

json other_models(const Study& study) {
  json others = json::array();
  for (const quant::QuantConfig& config : study.configs) {
    if (!config.sharer) continue;
    const auto add = [&](const std::string& name, stage::ModelNeed need) {
      const auto id = stage::parse_hub_id(name);
      if (!id) return;
      need.id = *id;
      const auto staged = stage::staged_model(need);
      if (!staged) return;
      json entry = {{"name", name},
                    {"repository", id->repository()},
                    {"revision", id->revision},
                    {"commit", staged->commit},
                    {"folder", staged->snapshot.string()}};
      for (const auto& file : staged->files) {
        entry["files"].push_back(
            {{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
      }
      if (std::find(others.begin(), others.end(), entry) == others.end()) others.push_back(entry);
    };
    add(config.sharer->model, {});
    add(config.sharer->fuser, {{}, stage::ModelPart::fuser, study.model, config.sharer->model});
  }
  return others;
}

void add_sources(const Study& study, json& sources) {
  const StudyNeeds all = needs_of(study);
  for (const stage::DatasetSource& source : all.needs.datasets) {
    const fs::path file = stage::manifest_path(all.needs.dataset_folder, source.name);
    const auto text = read_file_if_there(file, max_manifest_bytes);
    const json manifest = json::parse(text.value_or(""), nullptr, false);
    if (!manifest.is_discarded()) sources[source.name] = manifest;
  }
}

}  // namespace

json model_manifest(const Plan& plan) {
  json manifest = {{"name", plan.study.model}, {"fingerprint", plan.model_fingerprint}};
  const json others = other_models(plan.study);
  if (!others.empty()) manifest["others"] = others;
  if (plan.model_fingerprint.empty()) return manifest;
  const auto checkpoint = model::Checkpoint::open(locate_model(plan.study));
  manifest["folder"] = checkpoint->folder().string();
  add_origin(plan, checkpoint->folder(), manifest);
  for (const auto& file : checkpoint->files()) {
    const fs::path path = checkpoint->folder() / file.name;
    const std::string promised = stage::promised_sha256(path);
    if (!promised.empty() && promised != file.sha256) {
      throw_invalid(path.string() + " is damaged",
                    "its SHA-256 is " + file.sha256 + ", but it is stored as " + promised,
                    "remove what the link leads to and stage again (--prep-only)");
    }
    manifest["files"].push_back(
        {{"name", file.name}, {"size", file.size}, {"sha256", file.sha256}});
  }
  return manifest;
}

json dataset_manifest(const Plan& plan) {
  json manifest = {{"sources", json::object()}, {"texts", json::object()}};
  try {
    add_sources(plan.study, manifest["sources"]);
  } catch (const Error& error) {
    // A sweep needs no list of datasets: prep is the place to tell its faults.
    manifest["problem"] = error.what();
  }
  std::set<std::string> texts;
  for (const Run& run : plan.runs) {
    const auto* params = std::get_if<eval::PerplexityParams>(&plan.cells[run.cell].params);
    if (params == nullptr || !texts.insert(params->data).second) continue;
    const fs::path file = eval::find_text(params->data, plan.study.file);
    manifest["texts"][params->data] = {{"path", file.string()}, {"sha256", sha256_file(file)}};
  }
  return manifest;
}

}  // namespace qsweep::sweep
