#include "stage/hub.hpp"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "stage/file_lock.hpp"
#include "stage/json_detail.hpp"
#include "stage/wanted.hpp"

namespace qsweep::stage {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t max_listing_bytes = 16u << 20, max_file_bytes = 4ull << 40;
constexpr size_t max_siblings = 100000, max_token = 4096;
// Asking whether a name still stands for the commit that is here must not take long.
constexpr double quick_connect_s = 5;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string trimmed(std::string text) {
  text.erase(text.find_last_not_of(" \r\n\t") + 1);
  text.erase(0, std::min(text.find_first_not_of(" \r\n\t"), text.size()));
  return text;
}

bool is_true(std::string word) {
  for (char& c : word) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return word == "1" || word == "ON" || word == "YES" || word == "TRUE";
}

// Never told in a message, not even where it is no token.
std::string token_of_environment() {
  std::string token = trimmed(variable("HF_TOKEN"));
  if (token.empty() && !is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
    fs::path file = variable("HF_TOKEN_PATH");
    if (file.empty() && !hub_folders().empty()) {
      const std::string home = variable("HF_HOME");
      if (!home.empty()) file = fs::path(home) / "token";
      if (file.empty() && !variable("HOME").empty())
        file = fs::path(variable("HOME")) / ".cache/huggingface/token";
    }
    if (!file.empty()) token = trimmed(read_file_if_there(file, max_token).value_or(""));
  }
  const bool plain =
      std::all_of(token.begin(), token.end(), [](char c) { return c > 32 && c < 127; });
  if (!plain || token.size() > max_token) {
    throw_invalid("the token for the hub is no token", "it has blanks or characters beyond ASCII",
                  "look at HF_TOKEN and at the file that huggingface-cli login wrote");
  }
  return token;
}

std::string file_url(const HubServer& server, const HubId& id, const std::string& commit,
                     const std::string& file) {
  std::string url = server.endpoint + "/" + id.repository() + "/resolve/" + commit;
  for (size_t begin = 0; begin <= file.size();) {
    const size_t end = std::min(file.find('/', begin), file.size());
    url += '/';
    url += encode_component(file.substr(begin, end - begin));
    begin = end + 1;
  }
  return url;
}

[[noreturn]] void refuse_answer(const HubServer& server, const HubId& id, const std::string& what,
                                const HttpAnswer& answer) {
  std::string advice;
  if (answer.status == 401 || answer.status == 403) {
    advice = server.http.token.empty() ? "; it may be gated or private: accept its terms at " +
                                             shown_url(server.endpoint) + "/" + id.repository() +
                                             " and set HF_TOKEN, or the name is wrong"
                                       : "; the token does not open it: accept its terms at " +
                                             shown_url(server.endpoint) + "/" + id.repository();
  }
  throw_status("cannot stage model " + id.text() + ": " + what + advice, answer);
}

struct Listing {
  std::string commit;
  std::set<std::string> files;  // with names that are safe to keep
};

Listing list_repository(HttpClient& client, const HubServer& server, const HubId& id) {
  const std::string url = server.endpoint + "/api/models/" + id.repository() + "/revision/" +
                          encode_component(id.revision);
  const HttpAnswer answer = client.get(url, max_listing_bytes);
  if (answer.status != 200)
    refuse_answer(server, id, "the hub does not show revision " + id.revision, answer);
  const std::string place = shown_url(url);
  const nlohmann::json json = parse_json(answer.body, place);
  Listing listing;
  listing.commit = text_member(json, "sha", place);
  if (!is_commit(listing.commit))
    throw Error(ErrorKind::io, place + ": no usable 'sha'", "it is no commit");
  if (is_commit(id.revision) && listing.commit != id.revision)
    throw Error(ErrorKind::io, place + ": another commit than was asked for", listing.commit);
  const auto& siblings = member(json, "siblings", nlohmann::json::value_t::array, place);
  if (siblings.size() > max_siblings)
    throw Error(ErrorKind::io, place + ": too many files", std::to_string(siblings.size()));
  for (const auto& sibling : siblings) {
    const std::string& name = text_member(sibling, "rfilename", place);
    if (is_safe_repository_path(name)) listing.files.insert(name);
  }
  return listing;
}

// Name and size of a file's blob as the hub's own tools take them.
RepositoryFile describe_file(HttpClient& client, const HubServer& server, const HubId& id,
                             const std::string& commit, const std::string& name) {
  const HttpAnswer answer = client.head(file_url(server, id, commit, name));
  const bool fine = answer.status == 200 || (answer.status >= 300 && answer.status < 400);
  if (!fine) refuse_answer(server, id, "no file " + name, answer);
  const auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::io, "the hub says nothing usable about " + id.text() + "/" + name, why,
                "is HF_ENDPOINT a server with the hub's interface?");
  };
  const std::string told_commit = answer.header("x-repo-commit");
  if (!told_commit.empty() && told_commit != commit) fail("it is of another commit");
  RepositoryFile file;
  file.name = name;
  file.etag = answer.header("x-linked-etag");
  if (file.etag.empty()) file.etag = answer.header("etag");
  if (file.etag.starts_with("W/")) file.etag.erase(0, 2);
  std::erase(file.etag, '"');
  if (!is_safe_name(file.etag) || file.etag.ends_with(".incomplete")) fail("its ETag is no name");
  HttpAnswer sizes = answer;
  if (!answer.header("x-linked-size").empty())
    sizes.headers["content-length"] = answer.header("x-linked-size");
  const auto size = sizes.length();
  if (!size || *size > max_file_bytes) fail("its size is missing or out of range");
  file.size = *size;
  return file;
}

bool blob_here(const CachedRepository& repository, const RepositoryFile& file) {
  std::error_code code;
  return fs::is_regular_file(repository.blob(file.etag), code) &&
         fs::file_size(repository.blob(file.etag), code) == file.size;
}

// The snapshot that is here already, wherever.
std::optional<ModelTask> task_here(const ModelNeed& need, Completeness completeness) {
  for (const fs::path& hub : hub_folders()) {
    const CachedRepository repository(fs::absolute(hub).lexically_normal(), need.id);
    const auto commit = repository.commit();
    if (!commit || !missing_files(repository, *commit, need, completeness).empty()) continue;
    ModelTask task;
    task.need = need;
    task.hub = hub;
    task.commit = *commit;
    task.complete = true;
    return task;
  }
  return std::nullopt;
}

ModelTask make_task(HttpClient& client, const HubServer& server, const ModelNeed& need,
                    const Listing& listing, const std::optional<ModelTask>& here) {
  ModelTask task;
  task.need = need;
  // What other tools brought into another cache is looked through there.
  task.hub = here && here->commit == listing.commit ? here->hub : hub_folder();
  task.commit = listing.commit;
  const CachedRepository repository(task.hub, need.id);
  const auto read_index = [&]() -> std::string {
    if (repository.has(listing.commit, weights_index))
      return read_file(repository.snapshot(listing.commit) / weights_index, max_index_bytes);
    const HttpAnswer answer =
        client.get(file_url(server, need.id, listing.commit, weights_index), max_index_bytes);
    if (answer.status != 200) refuse_answer(server, need.id, "no index of its weights", answer);
    return answer.body;
  };
  const WantedFiles wanted = wanted_files(need, listing.files, read_index);
  task.names = wanted.names;
  task.absent = wanted.absent;
  for (const std::string& name : wanted.names) {
    if (repository.has(listing.commit, name)) continue;
    RepositoryFile file = describe_file(client, server, need.id, listing.commit, name);
    file.here = blob_here(repository, file);
    task.files.push_back(std::move(file));
  }
  return task;
}

}  // namespace

uint64_t ModelTask::bytes() const {
  uint64_t bytes = 0;
  for (const RepositoryFile& file : files) bytes += file.here ? 0 : file.size;
  return bytes;
}

bool hub_offline() {
  return is_true(variable("HF_HUB_OFFLINE"));
}

HubServer hub_server_of_environment(const HttpSettings& http) {
  HubServer server;
  server.http = http;
  server.offline = hub_offline();
  server.endpoint = variable("HF_ENDPOINT");
  if (server.endpoint.empty()) server.endpoint = "https://huggingface.co";
  while (server.endpoint.ends_with('/')) server.endpoint.pop_back();
  if (server.offline || !can_stage()) return server;
  if (server.endpoint.size() > 2000 ||
      server.endpoint.find_first_of("?#\r\n ") != std::string::npos)
    throw_invalid("HF_ENDPOINT is no address", shown_url(server.endpoint).substr(0, 200));
  try {
    server.http.token_origin = origin_of(server.endpoint);
  } catch (const Error& error) {
    throw_invalid("HF_ENDPOINT is no address", error.what());
  }
  server.http.token = token_of_environment();
  return server;
}

bool is_model_staged(const ModelNeed& need) {
  return task_here(need, Completeness::usable).has_value();
}

std::string promised_sha256(const fs::path& file) {
  std::error_code code;
  const fs::path target = fs::read_symlink(file, code);
  const std::string name = target.filename().string();
  return !code && name.size() == 64 && is_hash(name) ? name : "";
}

std::optional<StagedModel> staged_model(const ModelNeed& need) {
  const auto task = task_here(need, Completeness::usable);
  if (!task) return std::nullopt;
  const CachedRepository repository(task->hub, need.id);
  StagedModel staged{task->commit, repository.snapshot(task->commit), {}};
  for (const auto& entry : fs::recursive_directory_iterator(staged.snapshot)) {
    if (!entry.is_regular_file()) continue;
    std::string sha256 = promised_sha256(entry.path());
    if (sha256.empty()) sha256 = sha256_file(entry.path());
    staged.files.push_back({entry.path().lexically_relative(staged.snapshot).string(),
                            RegularFile(entry.path()).size(), sha256});
  }
  std::ranges::sort(staged.files, {}, &StagedModel::File::name);
  return staged;
}

ModelTask look_at_model(const HubServer& server, const ModelNeed& need) {
  const auto proven = task_here(need, Completeness::proven);
  if (proven && (server.offline || is_commit(need.id.revision))) return *proven;
  auto here = proven ? proven : task_here(need, Completeness::usable);
  if (here && server.offline) return *here;
  if (server.offline) {
    throw_invalid("model " + need.id.text() + " is not in the cache",
                  "HF_HUB_OFFLINE is set, so the hub is not asked",
                  "unset it where there is internet and stage again");
  }
  HttpSettings settings = server.http;
  if (here) {
    settings.tries = 1;
    settings.connect_s = std::min(settings.connect_s, quick_connect_s);
  }
  HttpClient client(settings);
  Listing listing;
  try {
    listing = list_repository(client, server, need.id);
  } catch (const Error& error) {
    if (!here || error.kind() == ErrorKind::interrupted) throw;
    here->notice = "the hub could not say whether " + need.id.text() + " is still commit " +
                   here->commit.substr(0, 12) + ", which is here and is used (" + error.what() +
                   ")";
    return *here;
  }
  if (proven && proven->commit == listing.commit) return *proven;
  HttpClient patient(server.http);
  return make_task(patient, server, need, listing, here);
}

void fetch_blob(const HubServer& server, const ModelTask& task, const RepositoryFile& file,
                const StageHooks& hooks) {
  const CachedRepository repository(task.hub, task.need.id);
  bool told = false;
  const FileLock lock(repository.lock(file.etag), [&] {
    server.http.check_stop();
    if (!told) hooks.tell("waiting: another process downloads " + file.name);
    told = true;
  });
  if (blob_here(repository, file)) {
    hooks.progress(static_cast<int64_t>(file.size));
    return;
  }
  Download download;
  download.url = file_url(server, task.need.id, task.commit, file.name);
  download.part = lock.held() ? repository.part(file.etag) : private_part(repository, file.etag);
  download.size = file.size;
  if (is_hash(file.etag)) download.expected = file.etag;
  download.progress = hooks.progress;
  HttpClient client(server.http);
  client.download(download);
  replace_file(download.part, repository.blob(file.etag));
}

void finish_model(const ModelTask& task) {
  if (task.complete) return;
  const CachedRepository repository(task.hub, task.need.id);
  const auto is_config = [](const RepositoryFile& file) { return file.name == "config.json"; };
  for (const bool config : {false, true}) {
    for (const RepositoryFile& file : task.files) {
      if (is_config(file) == config) repository.link(task.commit, file.name, file.etag);
    }
  }
  mark_complete(repository, task.commit, task.need, task.names);
  try {
    for (const std::string& name : task.absent) repository.set_absent(task.commit, name);
  } catch (const Error&) {
    // A cache that others keep, where nothing was missing: the hub is asked again the next time.
    if (!task.files.empty()) throw;
  }
  repository.set_commit(task.commit);
  for (const std::string& name : task.names) {
    if (repository.has(task.commit, name)) continue;
    throw Error(ErrorKind::io, "model " + task.need.id.text() + " is not whole after staging",
                name + " is missing in " + repository.snapshot(task.commit).string(),
                "was it removed meanwhile? stage again");
  }
}

}  // namespace qsweep::stage
