#include "stage/wanted.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "stage/json_detail.hpp"

namespace qsweep::stage {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t max_list_bytes = 16u << 20;

[[noreturn]] void lacks(const ModelNeed& need, const std::string& what, const std::string& advice) {
  throw_invalid("model " + need.id.text() + " cannot be staged", "its repository has no " + what,
                advice);
}

WantedFiles wanted_of_checkpoint(const ModelNeed& need, const std::set<std::string>& files,
                                 const std::function<std::string()>& read_index) {
  WantedFiles wanted;
  for (const std::string& name : required_model_files()) {
    if (!files.contains(name)) lacks(need, name, "name a repository in the layout of transformers");
    wanted.names.push_back(name);
  }
  for (const std::string& name : optional_model_files())
    (files.contains(name) ? wanted.names : wanted.absent).push_back(name);
  if (files.contains(weights_index)) {
    wanted.names.emplace_back(weights_index);
    for (const std::string& shard :
         shards_of_index(read_index(), need.id.text() + "/" + weights_index)) {
      if (!files.contains(shard)) lacks(need, shard + ", which its index names", "");
      wanted.names.push_back(shard);
    }
  } else {
    if (!files.contains(single_weights))
      lacks(need, std::string("weights in safetensors (") + single_weights + " or an index)",
            "name a conversion of it; other formats are not read");
    wanted.names.emplace_back(single_weights);
  }
  return wanted;
}

// "Qwen/Qwen2.5-0.5B-Instruct" -> "qwen2.5_0.5b_instruct", as folders of fusers spell it.
std::string spelled(const std::string& model) {
  const size_t slash = model.find('/');
  std::string name = slash == std::string::npos ? model : model.substr(slash + 1);
  for (char& c : name) c = c == '-' ? '_' : (c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  return name.substr(0, name.find('@'));
}

// "qwen3_0.6b+qwen2.5_0.5b_Fuser" is for receivers and sharers whose names begin so.
bool folder_fits(const std::string& folder, const ModelNeed& need) {
  std::string text = spelled("/" + folder);
  if (text.ends_with("_fuser")) text.resize(text.size() - 6);
  const size_t plus = text.find('+');
  return plus != std::string::npos && plus > 0 && plus + 1 < text.size() &&
         spelled(need.receiver).starts_with(text.substr(0, plus)) &&
         spelled(need.sharer).starts_with(text.substr(plus + 1));
}

WantedFiles wanted_of_fuser(const ModelNeed& need, const std::set<std::string>& files) {
  const auto is_part = [](const std::string& name) {
    return std::ranges::any_of(std::vector<std::string>{".json", ".pt", ".safetensors", ".yaml"},
                               [&](const std::string& end) { return name.ends_with(end); });
  };
  WantedFiles fitting, all;
  for (const std::string& name : files) {
    if (!is_part(name)) continue;
    all.names.push_back(name);
    if (folder_fits(name.substr(0, name.find('/')), need)) fitting.names.push_back(name);
  }
  if (!fitting.names.empty()) return fitting;
  if (all.names.empty()) lacks(need, "projectors (.json, .pt, .safetensors)", "");
  return all;
}

fs::path list_file(const CachedRepository& repository, const std::string& commit,
                   const ModelNeed& need) {
  const std::string pair = spelled(need.receiver) + "+" + spelled(need.sharer);
  return repository.folder() / ".qsweep" / commit / (pair + ".json");
}

std::vector<std::string> missing_of_fuser(const CachedRepository& repository,
                                          const std::string& commit, const ModelNeed& need) {
  const fs::path file = list_file(repository, commit, need);
  const auto text = read_file_if_there(file, max_list_bytes);
  if (!text) return {"the list of its files"};
  const nlohmann::json json = parse_json(*text, file.string());
  std::vector<std::string> missing;
  for (const auto& name : member(json, "files", nlohmann::json::value_t::array, file.string())) {
    const bool here = name.is_string() && is_safe_repository_path(name.get<std::string>()) &&
                      repository.has(commit, name.get<std::string>());
    if (!here) missing.push_back(name.dump());
  }
  return missing;
}

}  // namespace

WantedFiles wanted_files(const ModelNeed& need, const std::set<std::string>& files,
                         const std::function<std::string()>& read_index) {
  return need.part == ModelPart::fuser ? wanted_of_fuser(need, files)
                                       : wanted_of_checkpoint(need, files, read_index);
}

std::vector<std::string> missing_files(const CachedRepository& repository,
                                       const std::string& commit, const ModelNeed& need,
                                       Completeness completeness) {
  return need.part == ModelPart::fuser ? missing_of_fuser(repository, commit, need)
                                       : missing_model_files(repository, commit, completeness);
}

void mark_complete(const CachedRepository& repository, const std::string& commit,
                   const ModelNeed& need, const std::vector<std::string>& names) {
  if (need.part != ModelPart::fuser) return;
  nlohmann::ordered_json json = {{"files", names}};
  write_file_atomic(list_file(repository, commit, need), json_line(json));
}

bool is_hash(const std::string& etag) {
  return (etag.size() == 40 || etag.size() == 64) &&
         etag.find_first_not_of("0123456789abcdef") == std::string::npos;
}

fs::path private_part(const CachedRepository& repository, const std::string& etag) {
  static std::atomic<unsigned> counter{0};
  return repository.part(etag + "." + std::to_string(::getpid()) + "-" + std::to_string(counter++));
}

}  // namespace qsweep::stage
