// The tokens of a plan's texts, made once by --prep-only and read by every rank. A file of tokens
// is named by everything that decides them (the text, the tokenizer's files, this very program), so
// that none can be stale, and ends in its own hash.
#pragma once

#include <cstdint>
#include <filesystem>

#include "eval/workload.hpp"
#include "sweep/plan/plan.hpp"

namespace qsweep::sweep {

// What a perplexity cell or a calibration reads: from the staged tokens if they are there and
// whole, else computed. `model_folder`: where the tokenizer was loaded.
eval::TokenizedText tokens_of(const Study& study, const eval::PerplexityParams& params,
                              const model::Tokenizer& tokenizer,
                              const std::filesystem::path& model_folder);

struct TokenReport {
  size_t texts = 0, made = 0;  // read by the planned runs; of these, tokenized now
  int64_t tokens = 0;
  double seconds = 0;
};
// Makes what is not there yet. Throws Error{io} where it cannot be written.
TokenReport stage_tokens(const Plan& plan);

}  // namespace qsweep::sweep
