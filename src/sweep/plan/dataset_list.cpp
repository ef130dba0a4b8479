#include "sweep/plan/dataset_list.hpp"

#include <cstdlib>
#include <map>

#include "base/error.hpp"
#include "base/files.hpp"
#include "sweep/grammar/read.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

using grammar::Entry;
using grammar::Faults;
using grammar::MapReader;
using grammar::Node;
using stage::DatasetFile;
using stage::DatasetSource;

constexpr size_t max_sources = 1000, max_files = 100, max_urls = 8;
constexpr int64_t max_bytes = int64_t{4} << 30;

std::string read_sha256(const Node& node, const std::string& what, Faults& faults) {
  const std::string text = grammar::read_text(node, what, faults);
  const bool fine =
      text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!text.empty() && !fine)
    faults.add(node.place, what + " is no SHA-256", "expected 64 hex digits in lower case");
  return fine ? text : "";
}

std::vector<std::string> read_urls(const Node& node, const std::string& what, Faults& faults) {
  std::vector<std::string> urls;
  for (const Node* item : grammar::read_list(node, what, faults)) {
    const std::string url = grammar::read_text(*item, what, faults);
    if (url.empty()) continue;
    const bool plain = url.find_first_of(" \"\\<>^`{|}") == std::string::npos;
    if (!plain || !(url.starts_with("https://") || url.starts_with("http://"))) {
      faults.add(item->place, what + " is no address", grammar::describe(*item),
                 "expected https://...");
    }
    urls.push_back(url);
  }
  if (urls.empty() || urls.size() > max_urls)
    faults.add(node.place, what + " has no or too many addresses", "1 to 8 are taken");
  return urls;
}

// A path inside an archive; that it cannot lead out of one is the archive reader's to check.
DatasetFile read_file_entry(const Entry& entry, bool archive, Faults& faults) {
  DatasetFile file;
  const std::string what = "files." + entry.key;
  file.name = entry.key;
  grammar::check_safe_name(entry.key, entry.place, what, faults);
  if (entry.key.find('.') != std::string::npos)
    faults.add(entry.place, what + ": a dataset's name has no dot", "names with one are files");
  const MapReader map(entry.value, what, {"member", "as", "sha256"}, faults);
  if (const Node* conversion = map.need("as"))
    file.conversion = grammar::read_name<stage::Conversion>(*conversion, what + ".as", faults)
                          .value_or(stage::Conversion::rows);
  if (const Node* sha256 = map.find("sha256"))
    file.sha256 = read_sha256(*sha256, what + ".sha256", faults);
  const Node* member = archive ? map.need("member") : map.find("member");
  if (member != nullptr && !archive)
    faults.add(member->place, what + ".member: the source is no archive", "its format is plain");
  if (member != nullptr) file.member = grammar::read_text(*member, what + ".member", faults);
  return file;
}

DatasetSource read_source(const Entry& entry, Faults& faults) {
  DatasetSource source;
  source.name = entry.key;
  grammar::check_safe_name(entry.key, entry.place, "sources." + entry.key, faults);
  const std::string what = "sources." + entry.key;
  const MapReader map(entry.value, what,
                      {"url", "licence", "format", "sha256", "bytes", "in_parts", "files"}, faults);
  if (!map.ok()) return source;
  if (const Node* url = map.need("url")) source.urls = read_urls(*url, what + ".url", faults);
  if (const Node* licence = map.need("licence"))
    source.licence = grammar::read_text(*licence, what + ".licence", faults);
  if (const Node* format = map.need("format"))
    source.format = grammar::read_name<stage::SourceFormat>(*format, what + ".format", faults)
                        .value_or(stage::SourceFormat::plain);
  if (const Node* sha256 = map.find("sha256"))
    source.sha256 = read_sha256(*sha256, what + ".sha256", faults);
  if (const Node* bytes = map.find("bytes")) {
    source.bytes = static_cast<uint64_t>(
        grammar::read_integer(*bytes, what + ".bytes", 1, max_bytes, 1, faults));
  }
  if (const Node* parts = map.find("in_parts")) {
    source.in_parts = grammar::read_flag(*parts, what + ".in_parts", false, faults);
    if (source.in_parts && source.format != stage::SourceFormat::zip)
      faults.add(parts->place, what + ".in_parts: only a zip can be read in parts");
    if (source.in_parts && !source.sha256.empty())
      faults.add(parts->place,
                 what + ".in_parts: the whole is never seen, so its hash proves nothing", "",
                 "give the sha256 of its members");
  }
  const Node* files = map.need("files");
  if (files == nullptr) return source;
  if (!files->is_map() || files->entries.empty() || files->entries.size() > max_files) {
    faults.add(files->place, what + ".files: expected 1 to 100 datasets",
               "found " + grammar::describe(*files));
    return source;
  }
  const bool archive = source.format != stage::SourceFormat::plain;
  if (!archive && files->entries.size() > 1)
    faults.add(files->place, what + ".files: a plain source is one dataset");
  for (const Entry& file : files->entries)
    source.files.push_back(read_file_entry(file, archive, faults));
  return source;
}

}  // namespace

fs::path find_dataset_list(const fs::path& study_file) {
  const char* own = std::getenv("QSWEEP_DATASETS");
  if (own != nullptr && *own != '\0') return own;
  std::string looked;
  for (const fs::path& folder : search_folders(study_file)) {
    for (const char* name : {"datasets.yaml", "configs/datasets.yaml"}) {
      std::error_code ignored;
      if (fs::is_regular_file(folder / name, ignored)) return folder / name;
      looked += (looked.empty() ? "" : ", ") + (folder / name).string();
    }
  }
  throw_invalid("there is no list of datasets", "looked at " + looked,
                "name one in QSWEEP_DATASETS; qsweep ships configs/datasets.yaml");
}

std::vector<DatasetSource> read_dataset_list(const fs::path& file) {
  return parse_dataset_list(read_file(file, grammar::max_document_bytes), file.string());
}

std::vector<DatasetSource> parse_dataset_list(const std::string& yaml,
                                              const std::string& file_name) {
  Faults faults(file_name);
  const Node root = grammar::parse_tree(yaml, 0, faults);
  faults.throw_if_any();
  std::vector<DatasetSource> sources;
  const MapReader map(root, "the list of datasets", {"sources"}, faults);
  const Node* list = map.need("sources");
  if (list != nullptr && !list->is_map())
    faults.add(list->place, "sources: expected a map", "found " + grammar::describe(*list));
  if (list != nullptr && list->entries.size() > max_sources)
    faults.add(list->place, "too many sources", "at most 1000");
  faults.throw_if_any();
  std::map<std::string, std::string> source_of;
  for (const Entry& entry : list->entries) {
    sources.push_back(read_source(entry, faults));
    for (const DatasetFile& file : sources.back().files) {
      const auto [known, fresh] = source_of.emplace(file.name, entry.key);
      if (!fresh)
        faults.add(entry.place, "the dataset " + file.name + " stands in two sources",
                   known->second + " and " + entry.key, "rename one");
    }
  }
  faults.throw_if_any();
  return sources;
}

}  // namespace qsweep::sweep
