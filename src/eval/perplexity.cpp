// Negative log-likelihood of a text in windows.
//
//   sliding   window w, stride s (Hugging Face's strided form): windows begin at 0, s, 2s, ...;
//   each scores the
//             tokens that no earlier window scored and that have a token before them; weights are
//             true counts.
//   disjoint  (GPTQ papers) windows of w tokens, the rest of the text dropped, each run alone and
//   scoring its
//             w - 1 predictions.
// nll = sum over scored tokens of -log p / their number; ppl = exp(nll); bits per byte = sum / (ln
// 2 * bytes). Against the baseline config on the same window: KL(baseline || config) and agreement
// of the best guess.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/hash.hpp"
#include "device/gpu.hpp"
#include "eval/workloads.hpp"
#include "kernels/token_scores/token_scores.hpp"

namespace qsweep::eval {
namespace {

struct Window {
  int64_t begin = 0, end = 0;  // tokens fed
  int64_t first_scored = 0;    // absolute index of the first token scored; the last is end - 1
  int64_t scored() const { return end - first_scored; }
};

struct WindowScore {
  double nll = 0, kl = 0, agreement = 0;  // sums over scored tokens
};

std::vector<Window> windows_of(const PerplexityParams& params, int64_t n_tokens) {
  std::vector<Window> windows;
  if (params.protocol == PerplexityProtocol::disjoint) {
    for (int64_t begin = 0; begin + params.window <= n_tokens; begin += params.window) {
      windows.push_back({begin, begin + params.window, begin + 1});
    }
    return windows;
  }
  int64_t scored_to = 1;  // token 0 has nothing before it
  for (int64_t begin = 0; scored_to < n_tokens; begin += params.stride) {
    const int64_t end = std::min(begin + params.window, n_tokens);
    windows.push_back({begin, end, std::max(scored_to, begin + 1)});
    scored_to = end;
  }
  return windows;
}

// Log-probabilities in blocks of rows, so that no window x vocab matrix is kept.
constexpr int64_t block_rows = 32;

model::Matrix hidden_states(const device::Context& context, model::Model& model,
                            model::State& state, std::span<const int32_t> tokens) {
  model::reset_state(state);
  const model::Chunk chunk{&state, tokens};
  return model::forward(context, model, {&chunk, 1});
}

// Scores of rows of hidden states, on whatever backend they are.
class Scorer {
 public:
  Scorer(const RunInput& input, int64_t rows)
      : input_(input),
        targets_(static_cast<size_t>(rows) * sizeof(int32_t), device::MemoryClass::workspace,
                 input.context->place()),
        scores_(static_cast<size_t>(3 * rows) * sizeof(double), device::MemoryClass::workspace,
                input.context->place()) {}

  // Adds the scores of rows [row, row + targets.size()), each predicting its target.
  void add(const model::Matrix& hidden, const model::Matrix* reference, int64_t row,
           std::span<const int32_t> targets, WindowScore& score) {
    const device::Context& context = *input_.context;
    const auto count = static_cast<int64_t>(targets.size());
    model::Matrix q = model::logits(context, *input_.model, hidden.row(row), count), p;
    if (reference != nullptr) {
      p = model::logits(context, *input_.baseline, reference->row(row), count);
    }
    const device::Place place = context.place(), host = device::Place::host;
    device::copy_bytes(targets_.data(), place, targets.data(), host, targets.size_bytes());
    auto* out = scores_.as<double>();
    kernels::token_scores(
        context, {q.data(), reference != nullptr ? p.data() : nullptr, targets_.as<int32_t>(),
                  count, q.cols, out, out + count, out + 2 * count});
    std::vector<double> values(static_cast<size_t>(reference != nullptr ? 3 * count : count));
    device::copy_bytes(values.data(), host, out, place, values.size() * sizeof(double));
    double* const sums[] = {&score.nll, &score.kl, &score.agreement};
    for (size_t i = 0; i < values.size(); ++i) *sums[i / targets.size()] += values[i];
  }

 private:
  const RunInput& input_;
  device::Buffer targets_, scores_;
};

// What a run keeps from window to window.
struct Pass {
  const RunInput& input;
  bool reference;  // compare with the baseline
  model::State* state;
  model::State* baseline_state;
  std::string cache_key;
};

std::shared_ptr<const model::Matrix> baseline_states(const Pass& pass, const Window& window,
                                                     std::span<const int32_t> tokens) {
  const RunInput& input = pass.input;
  const auto compute = [&] {
    return hidden_states(*input.context, *input.baseline, *pass.baseline_state, tokens);
  };
  if (input.references == nullptr) return std::make_shared<const model::Matrix>(compute());
  return input.references->get(pass.cache_key, window.begin, compute);
}

WindowScore score_window(const Pass& pass, const Window& window) {
  const RunInput& input = pass.input;
  const std::span<const int32_t> tokens =
      std::span<const int32_t>(input.text->tokens)
          .subspan(static_cast<size_t>(window.begin),
                   static_cast<size_t>(window.end - window.begin));
  const model::Matrix hidden = hidden_states(*input.context, *input.model, *pass.state, tokens);
  const auto reference = pass.reference ? baseline_states(pass, window, tokens) : nullptr;
  WindowScore score;
  Scorer scorer(input, block_rows);
  const int64_t first_row = window.first_scored - window.begin - 1;  // row t predicts token t + 1
  for (int64_t row = first_row; row < first_row + window.scored(); row += block_rows) {
    const int64_t count = std::min(block_rows, first_row + window.scored() - row);
    scorer.add(hidden, reference.get(), row,
               tokens.subspan(static_cast<size_t>(row + 1), static_cast<size_t>(count)), score);
  }
  return score;
}

std::string protocol_json(const RunInput& input, const PerplexityParams& params) {
  const nlohmann::json protocol = {
      {"kind", "perplexity"},
      {"mode", "one-shot"},
      {"tokenizer", input.tokenizer->fingerprint()},
      {"data_sha256", input.text->sha256},
      {"protocol", name_of(params.protocol)},
      {"window", params.window},
      {"stride", params.stride},
      {"max_tokens", params.max_tokens},
      {"special_tokens", "tokenizer default, once at the start of the text"}};
  return protocol.dump();
}

struct Totals {
  double nll = 0, kl = 0, agreement = 0, tokens = 0;
};

void put_totals(const RunInput& input, const Totals& totals, bool reference,
                record::RunRecord& record) {
  const double nll = totals.nll / totals.tokens;
  // Words and bytes in proportion to the scored tokens: exact where every token but the first is
  // scored (sliding); disjoint windows drop the text's end and the first token of each, whose words
  // are estimated so.
  const double share =
      totals.tokens / std::max(1.0, static_cast<double>(input.text->tokens.size()) - 1);
  const double words = std::max(1.0, static_cast<double>(input.text->words) * share);
  const double bytes = std::max(1.0, static_cast<double>(input.text->bytes) * share);
  record.metric("perplexity.nll", nll);
  record.metric("perplexity.ppl", std::exp(nll));
  record.metric("perplexity.word_ppl", std::exp(totals.nll / words));
  record.metric("perplexity.byte_ppl", std::exp(totals.nll / bytes));
  record.metric("perplexity.bits_per_byte", totals.nll / (std::numbers::ln2 * bytes));
  record.metric("perplexity.tokens", totals.tokens);
  if (!reference) return;
  record.metric("perplexity.kl", totals.kl / totals.tokens);
  record.metric("perplexity.top1_agreement", totals.agreement / totals.tokens);
}

}  // namespace

std::shared_ptr<const model::Matrix> ReferenceCache::get(
    const std::string& key, int64_t begin, const std::function<model::Matrix()>& compute) {
  if (key != key_) {
    windows_.clear();
    bytes_ = 0;
    key_ = key;
  }
  const auto found = windows_.find(begin);
  if (found != windows_.end()) return found->second;
  auto states = std::make_shared<const model::Matrix>(compute());
  const uint64_t bytes = states->buffer.size();
  if (bytes_ + bytes <= max_bytes_) {
    windows_.emplace(begin, states);
    bytes_ += bytes;
  }
  return states;
}

void run_perplexity(const RunInput& input, record::RunRecord& record) {
  const auto& params = std::get<PerplexityParams>(input.cell->params);
  const std::vector<Window> windows =
      windows_of(params, static_cast<int64_t>(input.text->tokens.size()));
  if (windows.empty()) {
    throw_invalid("the text gives no window",
                  std::to_string(input.text->tokens.size()) + " tokens, window " +
                      std::to_string(params.window),
                  "use a longer text or a shorter window");
  }
  const auto state = model::make_state(*input.model, params.window);
  // The baseline against itself is zero by definition, but is computed all the same: it is the A/A
  // floor.
  const bool reference = params.reference && input.baseline != nullptr;
  const auto baseline_state = model::make_state(*input.baseline, reference ? params.window : 1);
  const std::string protocol = protocol_json(input, params);
  const Pass pass{input, reference, state.get(), baseline_state.get(), protocol};
  std::vector<double> nll, kl, agreement;
  std::vector<int64_t> counts, begins;
  Totals totals;
  const Stopwatch watch;
  for (const Window& window : windows) {
    input.check_stop();
    const WindowScore score = score_window(pass, window);
    const auto count = static_cast<double>(window.scored());
    nll.push_back(score.nll / count);
    kl.push_back(score.kl / count);
    agreement.push_back(score.agreement / count);
    counts.push_back(window.scored());
    begins.push_back(window.begin);
    totals.nll += score.nll;
    totals.kl += score.kl;
    totals.agreement += score.agreement;
    totals.tokens += count;
  }
  record.metric("perplexity.tokens_per_s", totals.tokens / watch.seconds());
  put_totals(input, totals, reference, record);
  record.put("samples/window_nll", std::move(nll));
  record.put("samples/window_tokens", std::move(counts));
  record.put("samples/window_begin", std::move(begins));
  if (reference) {
    record.put("samples/window_kl", std::move(kl));
    record.put("samples/window_top1_agreement", std::move(agreement));
  }
  record.set("protocol", protocol);
  record.set("protocol_fingerprint", sha256_hex(std::string_view(protocol)));
}

}  // namespace qsweep::eval
