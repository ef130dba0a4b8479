// The local cache of Hugging Face's hub, in the layout that its own tools read and write:
//   <cache>/models--<org>--<name>/blobs/<etag>                 the bytes, named by their hash
//                                 refs/<revision>              a commit
//                                 snapshots/<commit>/<file>    relative links into blobs/
//                                 .no_exist/<commit>/<file>    asked for, and not in the repository
//   <cache>/.locks/models--<org>--<name>/<etag>.lock           flock()ed while a blob is made
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace qsweep::stage {

// "org/name[@revision]"; org may be empty ("gpt2"). Every part is one safe path component, so that
// no name leads out of the cache.
struct HubId {
  std::string org, name, revision = "main";
  std::string repository() const { return org.empty() ? name : org + "/" + name; }
  std::string text() const { return repository() + (revision == "main" ? "" : "@" + revision); }
};
std::optional<HubId> parse_hub_id(const std::string& text);

// 40 lower-case hex digits: a revision that cannot move.
bool is_commit(const std::string& revision);
// A path inside a repository: at most 8 safe components, none empty; the names of the hub's files
// may start with a dot or hold other characters, but those are never needed here.
bool is_safe_repository_path(const std::string& path);

// Where cached models are looked for, in order: $HF_HUB_CACHE, $HF_HOME/hub,
// $XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub. New ones go into the first.
std::vector<std::filesystem::path> hub_folders();
// The first of them; throws Error{invalid_input} where there is none (no HOME).
std::filesystem::path hub_folder();

// One repository in one cache.
class CachedRepository {
 public:
  CachedRepository(const std::filesystem::path& hub, const HubId& id);

  std::filesystem::path blob(const std::string& etag) const { return folder_ / "blobs" / etag; }
  // Where a blob grows; the hub's own tools resume it as well.
  std::filesystem::path part(const std::string& etag) const {
    return folder_ / "blobs" / (etag + ".incomplete");
  }
  std::filesystem::path lock(const std::string& etag) const;
  std::filesystem::path snapshot(const std::string& commit) const {
    return folder_ / "snapshots" / commit;
  }
  const std::filesystem::path& folder() const { return folder_; }

  // The commit that the id's revision stood for when it was last asked about; nothing where it is
  // not here. Throws Error{invalid_input} where the reference holds no commit.
  std::optional<std::string> commit() const;
  // Whether the snapshot has the file, its link leading to something.
  bool has(const std::string& commit, const std::string& file) const;
  bool known_absent(const std::string& commit, const std::string& file) const;

  // Each is atomic; what is there already is replaced.
  void set_commit(const std::string& commit) const;
  void link(const std::string& commit, const std::string& file, const std::string& etag) const;
  void set_absent(const std::string& commit, const std::string& file) const;

 private:
  HubId id_;
  std::filesystem::path hub_, folder_;
};

// What of a checkpoint's files the engine and the usual tools read, by name.
const std::vector<std::string>& required_model_files();
const std::vector<std::string>& optional_model_files();
inline constexpr const char* single_weights = "model.safetensors";
inline constexpr const char* weights_index = "model.safetensors.index.json";

// Shards named by the text of an index. Throws Error{invalid_input} naming `place`.
std::vector<std::string> shards_of_index(const std::string& text, const std::string& place);
inline constexpr uint64_t max_index_bytes = 64u << 20;

// What a snapshot lacks.
enum class Completeness {
  usable,  // what the engine needs; other tools leave no word on optional files
  proven,  // every optional file too, or the word that there is none: no server need be asked
};
std::vector<std::string> missing_model_files(const CachedRepository& repository,
                                             const std::string& commit, Completeness completeness);

}  // namespace qsweep::stage
