#include "stage/datasets.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "stage/archive.hpp"
#include "stage/file_lock.hpp"
#include "stage/json_detail.hpp"

namespace qsweep::stage {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t max_manifest_bytes = 1 << 20, max_plain_bytes = 512ull << 20;
constexpr uint64_t max_download_bytes = 4096ull << 20;
// Raised when a conversion writes other bytes for the same input: staged files are then made anew.
constexpr int converter_version = 1;
// What reading a large zip by ranges takes: its directory, and a block around each member.
constexpr uint64_t parts_estimate = 8u << 20;

using nlohmann::ordered_json;

// What the manifest remembers of one dataset.
struct StagedFile {
  std::string member, conversion, content_sha256, sha256;
  int version = 0;
};
struct Manifest {
  std::string sha256;  // of the download; empty where it was read in parts
  std::map<std::string, StagedFile> files;
};

std::optional<Manifest> read_manifest(const DatasetSource& source, const fs::path& folder) {
  const fs::path file = manifest_path(folder, source.name);
  const auto text = read_file_if_there(file, max_manifest_bytes);
  if (!text) return std::nullopt;
  const std::string place = file.string();
  const nlohmann::json json = parse_json(*text, place);
  Manifest manifest;
  if (json.contains("sha256") && json["sha256"].is_string()) manifest.sha256 = json["sha256"];
  using Type = nlohmann::json::value_t;
  for (const auto& entry : member(json, "files", Type::array, place)) {
    StagedFile staged;
    staged.member = text_member(entry, "member", place);
    staged.conversion = text_member(entry, "conversion", place);
    staged.content_sha256 = text_member(entry, "content_sha256", place);
    staged.sha256 = text_member(entry, "sha256", place);
    staged.version =
        static_cast<int>(member(entry, "converter", Type::number_unsigned, place).get<uint32_t>());
    manifest.files[text_member(entry, "name", place)] = staged;
  }
  return manifest;
}

// The download as bytes of its members, by name; a plain source has one without a name.
using Contents = std::map<std::string, std::string>;

std::set<std::string> members_of(const DatasetSource& source) {
  std::set<std::string> members;
  for (const DatasetFile& file : source.files) members.insert(file.member);
  return members;
}

struct Fetched {
  std::string url, sha256;
  uint64_t bytes = 0;
  Contents contents;
};

Fetched fetch_in_parts(const DatasetSource& source, const std::string& url,
                       const HttpSettings& http, const StageHooks& hooks) {
  HttpClient client(http);
  const HttpAnswer answer = client.head(url);
  // A redirect to another server is followed by the ranges themselves.
  HttpAnswer sized = answer;
  if (answer.status >= 300 && answer.status < 400) {
    throw Error(ErrorKind::io, "cannot read " + shown_url(url) + " in parts",
                "the server redirects elsewhere", "name the final address in the list of datasets");
  }
  if (answer.status != 200) throw_status("cannot stage dataset " + source.name, answer);
  if (!sized.length())
    throw Error(ErrorKind::io, "cannot read " + shown_url(url) + " in parts",
                "its size is not told");
  Fetched fetched{url, "", 0, {}};
  const ByteSource remote{shown_url(url), *sized.length(), [&](uint64_t begin, uint64_t size) {
                            if (size == 0) return std::string();
                            std::string bytes = client.get_range(url, begin, size);
                            fetched.bytes += bytes.size();
                            hooks.progress(static_cast<int64_t>(bytes.size()));
                            return bytes;
                          }};
  fetched.contents = read_members(remote, members_of(source));
  return fetched;
}

Fetched fetch_whole(const DatasetSource& source, const std::string& url, const fs::path& part,
                    const HttpSettings& http, const StageHooks& hooks) {
  Download download;
  download.url = url;
  download.part = part;
  download.size = source.bytes;
  download.max_bytes = source.format == SourceFormat::plain ? max_plain_bytes : max_download_bytes;
  download.expected = source.sha256;
  download.progress = hooks.progress;
  HttpClient client(http);
  const Downloaded done = client.download(download);
  Fetched fetched{url, done.sha256, done.size, {}};
  if (source.format == SourceFormat::plain) {
    fetched.contents[""] = read_file(part, max_plain_bytes);
  } else {
    try {
      fetched.contents = read_members(source_of_file(part), members_of(source));
    } catch (const Error&) {
      std::error_code ignored;
      fs::remove(part, ignored);  // it is whole and hostile: nothing of it is worth keeping
      throw;
    }
  }
  return fetched;
}

// The publisher first, then the copies; all reasons are told where none serves.
Fetched fetch(const DatasetSource& source, const fs::path& part, const HttpSettings& http,
              const StageHooks& hooks) {
  std::string reasons;
  for (size_t i = 0; i < source.urls.size(); ++i) {
    const std::string& url = source.urls[i];
    try {
      return source.in_parts ? fetch_in_parts(source, url, http, hooks)
                             : fetch_whole(source, url, part, http, hooks);
    } catch (const Error& error) {
      const bool last = i + 1 == source.urls.size();
      if (error.kind() == ErrorKind::interrupted || (last && reasons.empty())) throw;
      reasons += (reasons.empty() ? "" : "; ") + std::string(error.what());
      if (last) throw Error(error.kind(), "cannot stage dataset " + source.name, reasons);
    }
  }
  throw_invalid("dataset " + source.name + " has no address", "its list of urls is empty");
}

void check_trust(const DatasetSource& source, const fs::path& folder, const std::string& what,
                 const std::string& pinned, const std::string& remembered,
                 const std::string& found) {
  if (!pinned.empty() && found != pinned) {
    throw Error(ErrorKind::io, "wrong content of dataset " + source.name,
                what + " has SHA-256 " + found + ", expected " + pinned,
                "nothing of it is used; did the publisher change it?");
  }
  if (pinned.empty() && !remembered.empty() && found != remembered) {
    throw Error(ErrorKind::io, "dataset " + source.name + " has changed since it was first staged",
                what + " has SHA-256 " + found + ", then it was " + remembered,
                "to accept the new one remove " + manifest_path(folder, source.name).string());
  }
}

void write_all(const DatasetSource& source, const fs::path& folder, const Fetched& fetched,
               const std::optional<Manifest>& before) {
  ordered_json files = ordered_json::array();
  std::vector<std::pair<fs::path, std::string>> outputs;
  for (const DatasetFile& file : source.files) {
    const std::string& content = fetched.contents.at(file.member);
    const std::string hash = sha256_hex(std::string_view(content));
    const std::string what = file.member.empty() ? "the file" : file.member;
    const auto known = before ? before->files.find(file.name) : decltype(before->files.end()){};
    const bool same_member =
        before && known != before->files.end() && known->second.member == file.member;
    check_trust(source, folder, what, file.sha256, same_member ? known->second.content_sha256 : "",
                hash);
    const Converted converted =
        convert(file.conversion, content, file.name,
                source.name + (file.member.empty() ? "" : "/" + file.member));
    files.push_back({{"name", file.name},
                     {"member", file.member},
                     {"conversion", std::string(name_of(file.conversion))},
                     {"converter", converter_version},
                     {"content_bytes", content.size()},
                     {"content_sha256", hash},
                     {"rows", converted.rows},
                     {"bytes", converted.jsonl.size()},
                     {"sha256", sha256_hex(std::string_view(converted.jsonl))}});
    outputs.emplace_back(dataset_path(folder, file.name), converted.jsonl);
  }
  for (const auto& [path, text] : outputs) write_file_atomic(path, text);
  const bool pinned = !source.sha256.empty();
  ordered_json manifest = {
      {"source", source.name},     {"url", shown_url(fetched.url)},
      {"licence", source.licence}, {"format", std::string(name_of(source.format))},
      {"bytes", fetched.bytes},    {"trust", pinned ? "pinned" : "first use"},
      {"fetched", utc_now_iso()},  {"files", std::move(files)}};
  if (!fetched.sha256.empty()) manifest["sha256"] = fetched.sha256;
  write_file_atomic(manifest_path(folder, source.name), manifest.dump(2) + "\n");
}

}  // namespace

bool is_staged(const DatasetSource& source, const fs::path& folder) {
  const auto manifest = read_manifest(source, folder);
  if (!manifest) return false;
  if (!source.sha256.empty() && !manifest->sha256.empty() && manifest->sha256 != source.sha256)
    return false;
  return std::ranges::all_of(source.files, [&](const DatasetFile& file) {
    const auto found = manifest->files.find(file.name);
    if (found == manifest->files.end()) return false;
    const StagedFile& staged = found->second;
    const bool same = staged.member == file.member && staged.version == converter_version &&
                      staged.conversion == name_of(file.conversion) &&
                      (file.sha256.empty() || file.sha256 == staged.content_sha256);
    const fs::path path = dataset_path(folder, file.name);
    return same && file_exists(path) && sha256_file(path) == staged.sha256;
  });
}

std::optional<uint64_t> bytes_to_download(const DatasetSource& source, const HttpSettings& http) {
  if (source.in_parts) return parts_estimate;
  if (source.bytes) return source.bytes;
  HttpSettings quick = http;
  quick.tries = 1;
  try {
    HttpClient client(quick);
    const HttpAnswer answer = client.head(source.urls.front());
    return answer.status == 200 ? answer.length() : std::nullopt;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::interrupted) throw;
    return std::nullopt;  // the download itself will say what is wrong
  }
}

void stage_dataset(const DatasetSource& source, const fs::path& folder, const HttpSettings& http,
                   const StageHooks& hooks) {
  bool told = false;
  const FileLock lock(folder / ".locks" / (source.name + ".lock"), [&] {
    http.check_stop();
    if (!told) hooks.tell("waiting: another process stages dataset " + source.name);
    told = true;
  });
  if (is_staged(source, folder)) return;
  const auto before = read_manifest(source, folder);
  const fs::path part = folder / "downloads" / (source.name + ".part");
  const Fetched fetched = fetch(source, part, http, hooks);
  check_trust(source, folder, "the download", source.sha256, before ? before->sha256 : "",
              fetched.sha256);
  write_all(source, folder, fetched, before);
  std::error_code ignored;
  fs::remove(part, ignored);
}

}  // namespace qsweep::stage
