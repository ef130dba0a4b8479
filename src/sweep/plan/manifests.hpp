// What the runs of a folder read, file by file: manifests/model.json and manifests/datasets.json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

// The model: name, fingerprint, folder, files with size and SHA-256; from the hub's cache also
// repository, revision and commit. Sharers and fusers under `others`, as far as they are staged.
// Throws Error{invalid_input} where a file of the cache is not what its name promises.
nlohmann::json model_manifest(const Plan& plan);

// The manifests of the staged sources that the study reads, by source, and every text of a planned
// run with its path and SHA-256.
nlohmann::json dataset_manifest(const Plan& plan);

}  // namespace qsweep::sweep
