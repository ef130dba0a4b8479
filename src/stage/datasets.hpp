// Datasets from their publishers, converted to one form, with a manifest that says where each came
// from. In a folder of datasets:
//   <name>.jsonl               what workloads read; complete wherever it stands
//   <source>.manifest.json     address, licence, sizes, hashes; written last
//   downloads/<source>.part    on its way; gone once it is converted
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "stage/convert.hpp"
#include "stage/http.hpp"
#include "stage/hub.hpp"

namespace qsweep::stage {

enum class SourceFormat { plain, zip, tar_gz };

// One dataset (a split) inside a source.
struct DatasetFile {
  std::string name;
  std::string member;  // its path in the archive; empty for plain sources
  Conversion conversion = Conversion::rows;
  std::string sha256;  // of its bytes before conversion; empty: trusted at first use
};
// What one address gives.
struct DatasetSource {
  std::string name, licence;
  std::vector<std::string> urls;  // the publisher's first, then copies
  SourceFormat format = SourceFormat::plain;
  std::string sha256;             // of the download; empty: trusted at first use
  std::optional<uint64_t> bytes;  // of the download
  bool in_parts = false;          // read only the members out of a large zip, by ranges
  std::vector<DatasetFile> files;
};

// Where datasets are looked for, in order: $QSWEEP_DATA, then data/datasets below each of the
// search folders of the study.
std::vector<std::filesystem::path> dataset_folders(const std::filesystem::path& study_file);
// Where new ones go: $QSWEEP_DATA, else the first of them that is there, else data/datasets below
// the current folder.
std::filesystem::path dataset_folder(const std::filesystem::path& study_file);

std::filesystem::path dataset_path(const std::filesystem::path& folder, const std::string& name);
std::filesystem::path manifest_path(const std::filesystem::path& folder, const std::string& source);

// Whether everything of the source is here as its manifest says, byte for byte.
bool is_staged(const DatasetSource& source, const std::filesystem::path& folder);
// Bytes that staging it would download, as the list or the server says; nothing: unknown.
std::optional<uint64_t> bytes_to_download(const DatasetSource& source, const HttpSettings& http);
// Downloads, checks, converts; a no-op where another process was faster. Throws
// Error{invalid_input} for content that is not what it should be, and what HttpClient throws.
void stage_dataset(const DatasetSource& source, const std::filesystem::path& folder,
                   const HttpSettings& http, const StageHooks& hooks);

}  // namespace qsweep::stage

template <>
inline constexpr auto qsweep::enum_names<qsweep::stage::SourceFormat> =
    std::to_array<qsweep::NamePair<qsweep::stage::SourceFormat>>(
        {{qsweep::stage::SourceFormat::plain, "plain"},
         {qsweep::stage::SourceFormat::zip, "zip"},
         {qsweep::stage::SourceFormat::tar_gz, "tar.gz"}});
