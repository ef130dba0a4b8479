// A checkpoint folder: config.json and single or sharded safetensors, memory-mapped and validated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "model/config.hpp"

namespace qsweep::model {

struct TensorView {
  std::string dtype;  // safetensors name: BF16, F16, F32, U8, ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // inside the mapping; not necessarily aligned
};

// One .safetensors file; throws Error{invalid_input} on anything the format forbids (facts: tiling
// offsets, duplicate names, overflow, truncation).
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& file);
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A tensor to be written whose bytes are made when their turn comes, so that a model larger than
// memory can be rewritten: `write` hands all of them, in order and in pieces of any size, to the
// sink it is given.
using ByteSink = std::function<void(std::span<const std::byte>)>;
struct TensorSource {
  std::string dtype;
  std::vector<int64_t> shape;
  std::function<void(const ByteSink&)> write;
};
void write_safetensors(const std::filesystem::path& file,
                       const std::map<std::string, TensorSource>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// Bytes of a tensor of this dtype and shape; throws Error{invalid_input} naming `place` for an
// unknown dtype, an overflow, or elements that do not fill whole bytes.
uint64_t tensor_bytes(const std::string& dtype, const std::vector<int64_t>& shape,
                      const std::string& place);

// Writes one file atomically; `tensors` in any order.
void write_safetensors(const std::filesystem::path& file,
                       const std::map<std::string, TensorView>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// Model name -> folder: an existing folder, or a hub id[@revision] found offline in the Hugging
// Face cache layout
// ($HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub: models--org--name/{refs,snapshots}).
// Throws Error{invalid_input} that says where it looked and how to stage it.
std::filesystem::path resolve_model(const std::string& name,
                                    const std::filesystem::path& relative_to);

class Checkpoint {
 public:
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& folder);
  const ModelConfig& config() const { return config_; }
  const std::filesystem::path& folder() const { return folder_; }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const TensorView& tensor(const std::string& name) const;  // throws Error{invalid_input}
  // The same, with the expected shape checked.
  const TensorView& tensor(const std::string& name, const std::vector<int64_t>& shape) const;
  // "<file>: tensor '<name>'", for messages.
  std::string place(const std::string& name) const;
  // Files that make the model (config, weights, index, tokenizer), for manifests; hashes are
  // computed lazily.
  struct FileEntry {
    std::string name;
    uint64_t size = 0;
    std::string sha256;
  };
  std::vector<FileEntry> files() const;
  // Hash over names and sha256 of files(): the model's part of every run id.
  std::string fingerprint() const;

 private:
  std::filesystem::path folder_;
  ModelConfig config_;
  std::vector<std::unique_ptr<SafetensorsFile>> shards_;
  std::map<std::string, TensorView> tensors_;
  mutable std::once_flag hashed_;
  mutable std::vector<FileEntry> files_;
};

}  // namespace qsweep::model
