// Models from the hub (or a mirror with its interface) into the local cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "stage/http.hpp"
#include "stage/hub_cache.hpp"

namespace qsweep::stage {

struct HubServer {
  std::string endpoint;  // $HF_ENDPOINT, default https://huggingface.co
  HttpSettings http;     // with the token ($HF_TOKEN, $HF_TOKEN_PATH, $HF_HOME/token)
  bool offline = false;  // $HF_HUB_OFFLINE: ask nobody
};
// Throws Error{invalid_input} where a variable makes no sense.
HubServer hub_server_of_environment(const HttpSettings& http);
bool hub_offline();

enum class ModelPart {
  checkpoint,  // config, tokenizer, weights: what an engine reads
  fuser,       // projectors between the caches of two models
};
struct ModelNeed {
  HubId id;
  ModelPart part = ModelPart::checkpoint;
  std::string receiver, sharer;  // of a fuser: the models it was trained for
};

struct RepositoryFile {
  std::string name, etag;
  uint64_t size = 0;
  bool here = false;  // its blob is in the cache
};
// What staging a model takes, found out before anything is downloaded.
struct ModelTask {
  ModelNeed need;
  std::filesystem::path hub;
  std::string commit;
  bool complete = false;              // nothing to do
  std::vector<RepositoryFile> files;  // of the snapshot that are not linked yet
  std::vector<std::string> names;     // all that are wanted
  std::vector<std::string> absent;    // asked for, and not in the repository
  std::string notice;                 // for the person, or empty
  uint64_t bytes() const;             // to download
};

// Asks nobody where the revision is a commit and everything is here; where it is a name, an
// unreachable hub is a notice if everything is here. Throws Error{invalid_input} where the
// repository has not what is needed, and what HttpClient throws.
ModelTask look_at_model(const HubServer& server, const ModelNeed& need);

// Whether everything of it is in a cache; asks nobody.
bool is_model_staged(const ModelNeed& need);
struct StagedModel {
  std::string commit;
  std::filesystem::path snapshot;
  struct File {
    std::string name;
    uint64_t size = 0;
    std::string sha256;  // by the blob's name where that is one, else computed
  };
  std::vector<File> files;
};
// The snapshot that the need is met by; nothing where it is not. Throws Error{io}.
std::optional<StagedModel> staged_model(const ModelNeed& need);
// The blob's SHA-256 as its name in the cache says; empty where the file is no link to such a blob.
std::string promised_sha256(const std::filesystem::path& file);

struct StageHooks {
  std::function<void(int64_t)> progress = [](int64_t) {};  // bytes arrived; may be negative
  std::function<void(const std::string&)> tell = [](const std::string&) {};
};
// Brings one blob into the cache, alone on it among all processes.
void fetch_blob(const HubServer& server, const ModelTask& task, const RepositoryFile& file,
                const StageHooks& hooks);
// Links the snapshot once all blobs are here: config.json last, then the revision's name.
void finish_model(const ModelTask& task);

}  // namespace qsweep::stage
