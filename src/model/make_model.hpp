// A random checkpoint of a published shape, so that speed can be measured where the real one is
// not: config.json, safetensors in shards, a byte tokenizer. Same seed, same bytes.
//   linears, embedding  normal, standard deviation 0.02 (those that write to the residual stream
//     0.02 / sqrt(2 layers)); norms 1; biases 0: activations keep their size from layer to layer.
#pragma once

#include <cstdint>
#include <filesystem>

#include "model/config.hpp"

namespace qsweep::model {

struct MadeModel {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  int shards = 0;
};

// Writes `folder`, which must not hold a checkpoint. Throws Error{unavailable} for a family whose
// tensors it does not know.
MadeModel make_model(const ModelConfig& shape, uint64_t seed, const std::filesystem::path& folder);

}  // namespace qsweep::model
