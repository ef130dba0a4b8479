// Everything that a study needs from elsewhere: first looked at, so that its cost can be told, then
// fetched by a few connections at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "stage/datasets.hpp"
#include "stage/hub.hpp"

namespace qsweep::stage {

inline constexpr size_t max_connections = 4;  // at once, to all servers together

struct Needs {
  std::vector<ModelNeed> models;
  std::vector<DatasetSource> datasets;
  std::filesystem::path dataset_folder;
};

struct StageProgress {
  uint64_t bytes = 0, bytes_total = 0;  // arrived, expected
  size_t items = 0, items_total = 0;    // blobs and sources done
  double seconds = 0;
  bool done = false;
};

struct StagingOptions {
  HttpSettings http;
  std::function<void(const std::string&)> tell = [](const std::string&) {};  // by any thread, one
                                                                             // at a time
  std::function<void(const StageProgress&)> progress = [](const StageProgress&) {};
};

// What is here and what is not, one line a model or source.
struct Outlook {
  struct Item {
    std::string what, where;
    size_t files = 0;    // to download
    uint64_t bytes = 0;  // to download
    bool size_known = true;
    bool here = false;  // nothing to do
  };
  std::vector<Item> items;
  uint64_t bytes = 0;
  struct Space {
    std::filesystem::path folder;
    uint64_t needed = 0, free = 0;
  };
  std::vector<Space> spaces;
  std::vector<std::string> notices;
};

struct StagingCost {
  uint64_t bytes = 0;
  size_t items = 0;
  double seconds = 0;
};

class Staging {
 public:
  Staging(Needs needs, StagingOptions options);
  // Throws what could not be looked at, all of it in one message.
  Outlook look();
  // After look(). Throws Error{io} before anything where a disk has no room for it, then what
  // failed, all of it in one message, once the rest is done; Error{interrupted} passes at once.
  StagingCost fetch();

 private:
  Needs needs_;
  StagingOptions options_;
  HubServer server_;
  std::vector<ModelTask> models_;
  std::vector<DatasetSource> datasets_;  // that are not here
  Outlook outlook_;
};

}  // namespace qsweep::stage
