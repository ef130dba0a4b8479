// What a cell costs under a config, from the model's shape alone: bytes that must be read and
// operations that must be done, over the rates of a rank. Both bound the time from below, so the
// larger one predicts it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

// A linear y = x W^T of the model, W [rows = out, cols = in].
struct LinearShape {
  quant::LinearRole role;
  int64_t rows = 0, cols = 0;
};
// The linears of one block, alike in every layer (fused projections where the checkpoint fuses
// them).
std::vector<LinearShape> block_linears(const model::ModelConfig& shape);
LinearShape head_linear(const model::ModelConfig& shape);

struct WeightCost {
  uint64_t resident = 0;  // bytes of all weights
  uint64_t read =
      0;  // bytes of the weights that one forward step reads (an embedding table is not)
};
WeightCost weight_cost(const model::ModelConfig& shape, const quant::QuantConfig& config);
// Why the config's formats cannot hold this model's linears, or empty.
std::string linears_problem(const model::ModelConfig& shape, const quant::QuantConfig& config);

// Positions that a cell needs in one sequence (0: unknown), for the model's limit and for the
// cache.
int64_t context_of(const eval::Cell& cell);

// What the prediction needs to know beside the cell.
struct CostInput {
  const model::ModelConfig* shape = nullptr;  // null: unknown, only synthetic cells cost anything
  WeightCost config, baseline;
  int64_t text_tokens = 0;  // of the perplexity's text
  Rates rates;
};
double predict_seconds(const eval::Cell& cell, const CostInput& input);
// Cache or state and workspace of a run, beside the weights.
uint64_t working_bytes(const model::ModelConfig& shape, const eval::Cell& cell);

}  // namespace qsweep::sweep
