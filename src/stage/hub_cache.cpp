#include "stage/hub_cache.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "stage/json_detail.hpp"

namespace qsweep::stage {
namespace fs = std::filesystem;
namespace {

constexpr size_t max_shards = 10000, max_depth = 8;

std::vector<std::string> components(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    parts.push_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

// A link is never followed when it is made: it replaces what stands under the name.
void replace_link(const fs::path& target, const fs::path& link) {
  static std::atomic<unsigned> counter{0};
  const fs::path temporary = link.string() + "." + std::to_string(::getpid()) + "-" +
                             std::to_string(counter++) + std::string(temporary_suffix);
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0)
    throw_io("cannot make the link", temporary, errno);
  if (::rename(temporary.c_str(), link.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    throw_io("cannot rename to", link, code);
  }
}

}  // namespace

std::optional<HubId> parse_hub_id(const std::string& text) {
  HubId id;
  const size_t at = text.find('@');
  if (at != std::string::npos) id.revision = text.substr(at + 1);
  const std::string path = text.substr(0, at);
  const size_t slash = path.find('/');
  id.org = slash == std::string::npos ? "" : path.substr(0, slash);
  id.name = slash == std::string::npos ? path : path.substr(slash + 1);
  const bool org_ok = slash == std::string::npos || is_safe_name(id.org);
  if (!org_ok || !is_safe_name(id.name) || !is_safe_name(id.revision)) return std::nullopt;
  return id;
}

bool is_commit(const std::string& revision) {
  return revision.size() == 40 &&
         revision.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool is_safe_repository_path(const std::string& path) {
  const auto parts = components(path);
  return parts.size() <= max_depth && std::all_of(parts.begin(), parts.end(), [](const auto& part) {
           return is_safe_name(part);
         });
}

std::vector<fs::path> hub_folders() {
  std::vector<fs::path> folders;
  const auto add = [&](const char* variable, const char* below) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') folders.push_back(fs::path(value) / below);
  };
  add("HF_HUB_CACHE", "");
  add("HF_HOME", "hub");
  add("XDG_CACHE_HOME", "huggingface/hub");
  add("HOME", ".cache/huggingface/hub");
  return folders;
}

fs::path hub_folder() {
  const auto folders = hub_folders();
  if (folders.empty()) {
    throw_invalid("there is no place for models", "none of HF_HUB_CACHE, HF_HOME and HOME is set",
                  "set HF_HOME to a folder with room that the compute nodes see");
  }
  // $HF_HUB_CACHE/"" ends in a separator.
  return fs::absolute(folders.front()).lexically_normal();
}

CachedRepository::CachedRepository(const fs::path& hub, const HubId& id)
    : id_(id),
      hub_(hub),
      folder_(hub / ("models--" + (id.org.empty() ? "" : id.org + "--") + id.name)) {}

fs::path CachedRepository::lock(const std::string& etag) const {
  return hub_ / ".locks" / folder_.filename() / (etag + ".lock");
}

std::optional<std::string> CachedRepository::commit() const {
  const fs::path reference = folder_ / "refs" / id_.revision;
  std::error_code ignored;
  if (fs::is_regular_file(reference, ignored)) {
    std::string commit = read_file(reference, 4096);
    commit.erase(commit.find_last_not_of(" \r\n\t") + 1);
    if (!is_safe_name(commit)) {
      throw_invalid(reference.string() + ": not a commit", "expected hex digits",
                    "remove the file");
    }
    return commit;
  }
  if (fs::is_directory(snapshot(id_.revision), ignored)) return id_.revision;
  return std::nullopt;
}

bool CachedRepository::has(const std::string& commit, const std::string& file) const {
  std::error_code ignored;
  return fs::is_regular_file(snapshot(commit) / file, ignored);
}

bool CachedRepository::known_absent(const std::string& commit, const std::string& file) const {
  std::error_code ignored;
  return fs::exists(folder_ / ".no_exist" / commit / file, ignored);
}

void CachedRepository::set_commit(const std::string& commit) const {
  if (id_.revision == commit) return;  // a commit needs no name
  const fs::path reference = folder_ / "refs" / id_.revision;
  if (this->commit() == commit) return;
  write_file_atomic(reference, commit);
}

void CachedRepository::link(const std::string& commit, const std::string& file,
                            const std::string& etag) const {
  const fs::path name = snapshot(commit) / file;
  create_folders(name.parent_path());
  fs::path target = "../..";
  for (size_t i = 1; i < components(file).size(); ++i) target /= "..";
  target = target / "blobs" / etag;
  std::error_code ignored;
  if (fs::read_symlink(name, ignored) == target) return;
  replace_link(target, name);
}

void CachedRepository::set_absent(const std::string& commit, const std::string& file) const {
  if (!known_absent(commit, file)) write_file_atomic(folder_ / ".no_exist" / commit / file, "");
}

const std::vector<std::string>& required_model_files() {
  static const std::vector<std::string> names = {"config.json", "tokenizer.json"};
  return names;
}

const std::vector<std::string>& optional_model_files() {
  static const std::vector<std::string> names = {"generation_config.json",
                                                 "tokenizer_config.json",
                                                 "special_tokens_map.json",
                                                 "added_tokens.json",
                                                 "tokenizer.model",
                                                 "vocab.json",
                                                 "merges.txt",
                                                 "chat_template.jinja"};
  return names;
}

std::vector<std::string> shards_of_index(const std::string& text, const std::string& place) {
  const nlohmann::json json = parse_json(text, place);
  const nlohmann::json& map = member(json, "weight_map", nlohmann::json::value_t::object, place);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map.items()) {
    if (!shard.is_string() || !is_safe_name(shard.get_ref<const std::string&>()) ||
        !shard.get_ref<const std::string&>().ends_with(".safetensors")) {
      throw_invalid(place + ": not a shard's file name", shard.dump().substr(0, 200),
                    "only plain names ending in .safetensors are taken");
    }
    shards.insert(shard.get<std::string>());
    if (shards.size() > max_shards)
      throw_invalid(place + ": too many shards", "more than " + std::to_string(max_shards));
  }
  if (shards.empty()) throw_invalid(place + ": names no shard", "weight_map is empty");
  return {shards.begin(), shards.end()};
}

std::vector<std::string> missing_model_files(const CachedRepository& repository,
                                             const std::string& commit, Completeness completeness) {
  std::vector<std::string> missing;
  const auto need = [&](const std::string& file) {
    if (!repository.has(commit, file)) missing.push_back(file);
  };
  for (const std::string& file : required_model_files()) need(file);
  for (const std::string& file : optional_model_files()) {
    if (completeness == Completeness::proven && !repository.known_absent(commit, file)) need(file);
  }
  if (!repository.has(commit, weights_index)) {
    need(single_weights);
    return missing;
  }
  const fs::path index = repository.snapshot(commit) / weights_index;
  for (const auto& shard : shards_of_index(read_file(index, max_index_bytes), index.string()))
    need(shard);
  return missing;
}

}  // namespace qsweep::stage
