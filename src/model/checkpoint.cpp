#include "model/checkpoint.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "base/hash.hpp"
#include "model/tokenizer/strict_json.hpp"

namespace qsweep::model {
namespace fs = std::filesystem;
namespace {

using tok::Place;

constexpr uint64_t max_index_bytes = 64u << 20;
constexpr size_t max_shards = 10000;
constexpr const char* single_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

// tensor -> file of a sharded checkpoint; file names may not lead out of the folder.
std::map<std::string, std::string> read_index(const fs::path& file) {
  const nlohmann::json json =
      tok::parse_strict_json(read_file(file, max_index_bytes), file.string());
  const Place weight_map = Place(json, file.string() + ": ").at("weight_map");
  if (!weight_map.is_object()) weight_map.fail("wrong type", "expected an object of file names");
  std::map<std::string, std::string> result;
  for (const auto& [tensor, value] : weight_map.value().items()) {
    const Place place(value, weight_map.path() + "['" + tensor.substr(0, 200) + "']");
    const std::string& shard = place.string();
    if (!is_safe_name(shard) || !shard.ends_with(".safetensors")) {
      place.fail("not a shard's file name", "'" + shard.substr(0, 200) + "'",
                 "only plain names ending in .safetensors are opened");
    }
    result[tensor] = shard;
  }
  return result;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t dimension : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(dimension);
  return text + "]";
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const fs::path& folder) {
  auto checkpoint = std::make_shared<Checkpoint>();
  checkpoint->folder_ = folder;
  checkpoint->config_ = parse_config(folder / "config.json");
  if (file_exists(folder / index_file)) {
    const auto index = read_index(folder / index_file);
    std::map<std::string, const SafetensorsFile*> opened;
    for (const auto& [tensor, shard] : index) {
      if (!opened.contains(shard)) {
        if (opened.size() >= max_shards)
          throw_invalid((folder / index_file).string() + ": too many shards",
                        "more than " + std::to_string(max_shards));
        checkpoint->shards_.push_back(std::make_unique<SafetensorsFile>(folder / shard));
        opened[shard] = checkpoint->shards_.back().get();
      }
      const auto& held = opened[shard]->tensors();
      const auto found = held.find(tensor);
      if (found == held.end()) {
        throw_invalid((folder / shard).string() + ": tensor '" + tensor + "' is missing",
                      std::string(index_file) + " says it is there");
      }
      checkpoint->tensors_[tensor] = found->second;
    }
  } else {
    if (!file_exists(folder / single_file)) {
      throw_invalid(folder.string() + " has no weights",
                    std::string("neither ") + single_file + " nor " + index_file,
                    "only safetensors are read");
    }
    checkpoint->shards_.push_back(std::make_unique<SafetensorsFile>(folder / single_file));
    checkpoint->tensors_ = checkpoint->shards_.back()->tensors();
  }
  return checkpoint;
}

std::string Checkpoint::place(const std::string& name) const {
  const auto held = std::find_if(shards_.begin(), shards_.end(), [&](const auto& shard) {
    return shard->tensors().contains(name);
  });
  const fs::path& file = held == shards_.end() ? folder_ : (*held)->path();
  return file.string() + ": tensor '" + name + "'";
}

const TensorView& Checkpoint::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw_invalid(place(name) + " is missing", "config.json's model type needs it");
  }
  return found->second;
}

const TensorView& Checkpoint::tensor(const std::string& name,
                                     const std::vector<int64_t>& shape) const {
  const TensorView& view = tensor(name);
  if (view.shape != shape) {
    throw_invalid(
        place(name) + " has the wrong shape",
        "expected " + shape_text(shape) + " by config.json, found " + shape_text(view.shape));
  }
  return view;
}

std::vector<Checkpoint::FileEntry> Checkpoint::files() const {
  std::call_once(hashed_, [&] {
    std::set<fs::path> paths;
    for (const char* name : {"config.json", "generation_config.json", index_file, "tokenizer.json",
                             "tokenizer_config.json", "quantization.json"}) {
      if (file_exists(folder_ / name)) paths.insert(folder_ / name);
    }
    for (const auto& shard : shards_) paths.insert(shard->path());
    for (const fs::path& path : paths) {
      files_.push_back({path.filename().string(), RegularFile(path).size(), sha256_file(path)});
    }
  });
  return files_;
}

std::string Checkpoint::fingerprint() const {
  Sha256 hash;
  for (const FileEntry& entry : files()) hash.update(entry.name + "\n" + entry.sha256 + "\n");
  return hash.hex();
}

}  // namespace qsweep::model
