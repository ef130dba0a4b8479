// Model name -> folder. A hub id is looked up in the cache layout of huggingface_hub, offline:
// <hub>/models--<org>--<name>/refs/<revision> holds a commit, snapshots/<commit>/ the files.
#include <array>
#include <cstdlib>
#include <optional>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/checkpoint.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

struct HubId {
  std::string org, name, revision;  // org may be empty ("gpt2")
};

// Every part must be one safe path component, so that no name leads out of the cache.
std::optional<HubId> parse_hub_id(const std::string& text) {
  HubId id;
  const size_t at = text.find('@');
  id.revision = at == std::string::npos ? "main" : text.substr(at + 1);
  const std::string path = text.substr(0, at);
  const size_t slash = path.find('/');
  id.org = slash == std::string::npos ? "" : path.substr(0, slash);
  id.name = slash == std::string::npos ? path : path.substr(slash + 1);
  const bool org_ok = slash == std::string::npos || is_safe_name(id.org);
  if (!org_ok || !is_safe_name(id.name) || !is_safe_name(id.revision)) return std::nullopt;
  return id;
}

std::vector<fs::path> hub_folders() {
  std::vector<fs::path> folders;
  const auto add = [&](const char* variable, const char* below) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') folders.push_back(fs::path(value) / below);
  };
  add("HF_HUB_CACHE", "");
  add("HF_HOME", "hub");
  add("HOME", ".cache/huggingface/hub");
  return folders;
}

std::optional<fs::path> find_snapshot(const fs::path& hub, const HubId& id) {
  const std::string folder_name = "models--" + (id.org.empty() ? "" : id.org + "--") + id.name;
  const fs::path repository = hub / folder_name;
  std::string commit = id.revision;
  const fs::path reference = repository / "refs" / id.revision;
  std::error_code ignored;
  if (fs::is_regular_file(reference, ignored)) {
    commit = read_file(reference, 4096);
    commit.erase(commit.find_last_not_of(" \r\n\t") + 1);
    if (!is_safe_name(commit)) {
      throw_invalid(reference.string() + ": not a commit", "expected hex digits");
    }
  }
  const fs::path snapshot = repository / "snapshots" / commit;
  if (fs::is_regular_file(snapshot / "config.json", ignored)) return snapshot;
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
  if (const auto id = parse_hub_id(name)) {
    for (const fs::path& hub : hub_folders()) {
      if (const auto snapshot = find_snapshot(hub, *id)) return *snapshot;
      looked += hub.string() + ", ";
    }
  }
  looked.resize(looked.size() - 2);
  throw_invalid("model '" + name + "' not found", "looked in " + looked,
                "stage it where there is internet: huggingface-cli download " +
                    name.substr(0, name.find('@')) + ", or give a folder");
}

}  // namespace qsweep::model
