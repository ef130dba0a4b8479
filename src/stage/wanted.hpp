// Which of a repository's files are needed; private to hub.cpp and its tests.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "stage/hub.hpp"

namespace qsweep::stage {

struct WantedFiles {
  std::vector<std::string> names;
  std::vector<std::string> absent;  // optional ones that the repository lacks
};
// `files`: what the repository has; `read_index`: the text of its model.safetensors.index.json,
// asked for only where there is one. Throws Error{invalid_input} where something needed is not
// there.
WantedFiles wanted_files(const ModelNeed& need, const std::set<std::string>& files,
                         const std::function<std::string()>& read_index);

// What a snapshot lacks of a need.
std::vector<std::string> missing_files(const CachedRepository& repository,
                                       const std::string& commit, const ModelNeed& need,
                                       Completeness completeness);
// A fuser's files follow no rule that could be checked without its list, so the list is kept.
void mark_complete(const CachedRepository& repository, const std::string& commit,
                   const ModelNeed& need, const std::vector<std::string>& names);

// 40 or 64 lower-case hex digits: git's SHA-1 or a SHA-256.
bool is_hash(const std::string& etag);
// Where a blob grows on a file system without locks: a name of this process alone.
std::filesystem::path private_part(const CachedRepository& repository, const std::string& etag);

}  // namespace qsweep::stage
