// Model name -> folder. A hub id is looked up in the hub's cache, offline.
#include <optional>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/checkpoint.hpp"
#include "stage/hub_cache.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

// The id's revision in the first cache that has it.
std::optional<fs::path> find_snapshot(const fs::path& hub, const stage::HubId& id) {
  const stage::CachedRepository repository(hub, id);
  const auto commit = repository.commit();
  if (commit && repository.has(*commit, "config.json")) return repository.snapshot(*commit);
  return std::nullopt;
}

}  // namespace

fs::path resolve_model(const std::string& name, const fs::path& relative_to) {
  if (name.empty() || name.size() > 4096 || name.find('\0') != std::string::npos) {
    throw_invalid("not a model name", "it is empty or too long");
  }
  std::error_code ignored;
  std::string looked;
  for (const fs::path& folder : {relative_to / name, fs::path(name)}) {
    if (fs::is_directory(folder, ignored)) {
      if (fs::is_regular_file(folder / "config.json", ignored)) return folder;
      throw_invalid("model folder " + folder.string() + " has no config.json",
                    "it is not a checkpoint");
    }
    if (looked.find(folder.string()) == std::string::npos) looked += folder.string() + ", ";
  }
  if (const auto id = stage::parse_hub_id(name)) {
    for (const fs::path& hub : stage::hub_folders()) {
      if (const auto snapshot = find_snapshot(hub, *id)) return *snapshot;
      looked += hub.string() + ", ";
    }
  }
  looked.resize(looked.size() - 2);
  throw_invalid("model '" + name + "' not found", "looked in " + looked,
                "stage it where there is internet: qsweep STUDY --prep-only or huggingface-cli "
                "download " +
                    name.substr(0, name.find('@')) + ", or give a folder");
}

}  // namespace qsweep::model
