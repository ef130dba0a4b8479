// Runs one cell of the grid on a model and fills the record: metrics, raw samples, protocol.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device/context.hpp"
#include "eval/cell.hpp"
#include "model/model.hpp"
#include "model/tokenizer/tokenizer.hpp"
#include "record/record.hpp"

namespace qsweep::eval {

// A text as the evaluation uses it: its tokens are kept so that the many runs of a rank encode it
// once.
struct TokenizedText {
  std::string sha256;            // of the file
  std::vector<int32_t> tokens;   // with the tokenizer's own special tokens, cut to max_tokens
  int64_t words = 0, bytes = 0;  // of the text that the tokens cover
};

// Finds a dataset: a path (relative to the study's folder or one of its parents up to three, or the
// current folder), or a staged name (<name>.jsonl or .txt in one of stage::dataset_folders).
// Throws Error{invalid_input} that says where it looked.
std::filesystem::path find_text(const std::string& data, const std::filesystem::path& study_file);

// The text of a file; of a .jsonl the rows' "text", joined by a blank line. Throws
// Error{invalid_input}.
std::string read_text(const std::filesystem::path& file);

TokenizedText tokenize_text(const std::filesystem::path& file, const model::Tokenizer& tokenizer,
                            int64_t max_tokens);

// Hidden states that a rank keeps for comparisons.
inline constexpr uint64_t max_reference_bytes = 256ull << 20;

// Hidden states of the baseline, window by window, so that the configs of a cell compare against
// one computation. Bounded: a cell whose states do not fit is computed anew each time, with the
// same bits.
class ReferenceCache {
 public:
  explicit ReferenceCache(uint64_t max_bytes) : max_bytes_(max_bytes) {}
  // The states of window `begin` of the cell `key` ([rows, hidden]); computed by `compute` where
  // they are not held.
  std::shared_ptr<const model::Matrix> get(const std::string& key, int64_t begin,
                                           const std::function<model::Matrix()>& compute);

 private:
  uint64_t max_bytes_, bytes_ = 0;
  std::string key_;  // the one cell that is held
  std::map<int64_t, std::shared_ptr<const model::Matrix>> windows_;
};

// Everything a workload may use. Models are null for kinds that need none.
struct RunInput {
  const Cell* cell = nullptr;
  const device::Context* context = nullptr;
  model::Model* model = nullptr;
  model::Model* baseline = nullptr;  // the study's baseline config, for KL and agreement
  const model::Tokenizer* tokenizer = nullptr;
  const TokenizedText* text = nullptr;   // perplexity
  ReferenceCache* references = nullptr;  // may be null
  std::string config;                    // name; the A/A duplicate gives its original's
  int64_t repeat = 0, seed = 0;
  // Throws Error{interrupted} when the job wants to end; called between tokens and windows.
  std::function<void()> check_stop = [] {};
};

bool available(WorkloadKind kind);  // whether this build has an engine for it
bool needs_model(WorkloadKind kind);
void run_workload(const RunInput& input, record::RunRecord& record);

// Rates attainable in this process with these threads, measured once and kept.
struct Ceilings {
  double bytes_per_s = 0;  // streaming read over a working set of `working_set_bytes`
  double flops_per_s = 0;  // matrix product: fp32 on the CPU, the activations' type on the GPU
};
Ceilings measure_ceilings(const device::Context& context, uint64_t working_set_bytes);

}  // namespace qsweep::eval
