// The engine against transformers on the reference checkpoints: logits, greedy tokens, and the
// engine against itself: step by step, across longrope's switch, in company, on any number of
// threads.
#include <gtest/gtest.h>

#include <cmath>

#include "model/structure.hpp"
#include "unit/model/reference.hpp"

namespace qsweep {
namespace {

using test::Prompt;
using test::relative_error;
using test::Runner;

class Reference : public testing::TestWithParam<const char*> {};

std::span<const float> row_of(const std::vector<float>& logits, int64_t row, int64_t vocab) {
  return {logits.data() + row * vocab, static_cast<size_t>(vocab)};
}

// Both engines accumulate in fp32: with widths up to 512 a relative error of a few 1e-6 a layer is
// expected, and these random models amplify; 1e-4 is the contract.
TEST_P(Reference, LogitsMatchTransformers) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  const int64_t vocab = runner.vocab();
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    const std::vector<float> logits = runner.logits(prompt.tokens);
    ASSERT_EQ(logits.size(), static_cast<size_t>(length * vocab));
    double worst = 0;
    for (size_t r = 0; r < prompt.rows.size(); ++r) {
      worst =
          std::max(worst, relative_error(row_of(logits, prompt.rows[r], vocab),
                                         row_of(prompt.logits, static_cast<int64_t>(r), vocab)));
    }
    std::printf("  %s, %d tokens: worst row %.2e, allowed 1e-4\n", GetParam(), length, worst);
    EXPECT_LT(worst, 1e-4) << length;
  }
}

TEST_P(Reference, NegativeLogLikelihoodMatches) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  const int64_t vocab = runner.vocab();
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    const std::vector<float> logits = runner.logits(prompt.tokens);
    std::vector<float> row(static_cast<size_t>(vocab));
    double nll = 0;
    for (int t = 0; t + 1 < length; ++t) {
      model::log_softmax(row_of(logits, t, vocab), row);
      nll -= row[static_cast<size_t>(prompt.tokens[static_cast<size_t>(t) + 1])];
    }
    EXPECT_NEAR(nll / (length - 1), prompt.nll, 1e-4) << length;
  }
}

TEST_P(Reference, GreedyTokensMatch) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    EXPECT_EQ(runner.generate(prompt.tokens, prompt.greedy.size()), prompt.greedy) << length;
  }
}

// For phi3 the 300 tokens cross the switch to the long factors at 128: from there on the whole
// cache is made anew, so positions before it keep the logits of the short factors in one run and
// not in the other.
TEST_P(Reference, StepByStepEqualsPrefill) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  const int64_t vocab = runner.vocab();
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    const auto whole = runner.logits(prompt.tokens);
    const auto& rope = model::config_of(*runner.model).rope;
    const bool switches =
        rope.kind == model::RopeKind::longrope && length > rope.original_max_positions;
    const int64_t first = switches ? rope.original_max_positions : 0;
    for (const size_t piece : {size_t{1}, size_t{3}, size_t{7}}) {
      const auto pieces = runner.logits(prompt.tokens, piece);
      const auto compared = [&](const std::vector<float>& all) {
        // A piece that ends beyond the switch is wholly long; the next multiple of any piece is
        // safe.
        return std::span(all).subspan(static_cast<size_t>((first + (switches ? 7 : 0)) * vocab));
      };
      EXPECT_LT(relative_error(compared(pieces), compared(whole)), 1e-5)
          << length << " by " << piece;
    }
  }
}

TEST_P(Reference, ChunksInCompanyEqualChunksAlone) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  const auto prompts = test::load_prompts(GetParam());
  std::vector<std::unique_ptr<model::State, void (*)(model::State*)>> states;
  std::vector<model::Chunk> chunks;
  for (const auto& [length, prompt] : prompts) {
    states.push_back(model::make_state(*runner.model, length));
    chunks.push_back({states.back().get(), prompt.tokens});
  }
  const model::Matrix hidden = model::forward(runner.context, *runner.model, chunks);
  const model::Matrix together =
      model::logits(runner.context, *runner.model, hidden.data(), hidden.rows);
  int64_t row = 0;
  for (const auto& [length, prompt] : prompts) {
    const auto alone = runner.logits(prompt.tokens);
    const std::span<const float> mine(together.row(row),
                                      static_cast<size_t>(length * runner.vocab()));
    EXPECT_LT(relative_error(mine, alone), 1e-5) << length;
    row += length;
  }
}

TEST_P(Reference, BitsDoNotDependOnThreads) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  const auto prompts = test::load_prompts(GetParam());
  const auto& tokens = prompts.rbegin()->second.tokens;
  // Few single steps: with more threads than cores each parallel region waits for the scheduler.
  const std::vector<int32_t> few(tokens.begin(), tokens.begin() + 12);
  Runner one(test::reference_folder(GetParam()));
  const auto prefill = one.logits(tokens), decode = one.logits(few, 1);
  const auto generated = one.generate(tokens, 4);
  for (const int threads : {2, 3}) {
    Runner many(test::reference_folder(GetParam()), {.threads = threads});
    EXPECT_EQ(many.logits(tokens), prefill) << threads;
    EXPECT_EQ(many.logits(few, 1), decode) << threads;
    EXPECT_EQ(many.generate(tokens, 4), generated) << threads;
  }
}

// transformers' own bf16 run is the measure: rounding at the same points must come out about as far
// off. Two runs that round alike but sum in another order differ by a few percent in this
// figure; 1.3 is the contract.
TEST_P(Reference, Bf16EmulationIsAsGoodAsTransformersBf16) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner exact(test::reference_folder(GetParam()));
  Runner bf16(test::reference_folder(GetParam()), {.compute = device::Compute::bf16});
  for (const auto& [length, prompt] : test::load_prompts(GetParam())) {
    const double error = relative_error(bf16.logits(prompt.tokens), exact.logits(prompt.tokens));
    std::printf("  %s, %d tokens: bf16 error %.4f, transformers' %.4f\n", GetParam(), length, error,
                prompt.bf16_error);
    EXPECT_LT(error, 1.3 * prompt.bf16_error) << length;
    EXPECT_GT(error, 0.7 * prompt.bf16_error) << length << ": is anything rounded at all?";
  }
}

TEST_P(Reference, WorkCountsTheParameters) {
  QSWEEP_NEEDS_REFERENCE(GetParam());
  Runner runner(test::reference_folder(GetParam()));
  const auto& config = model::config_of(*runner.model);
  const auto checkpoint = model::Checkpoint::open(test::reference_folder(GetParam()));
  int64_t elements = 0;
  for (const auto& [name, view] : checkpoint->tensors())
    elements += static_cast<int64_t>(view.bytes.size()) / 2;
  EXPECT_EQ(config.parameters(), elements);
  const model::Work at_8 = model::decode_work(*runner.model, 8),
                    at_9 = model::decode_work(*runner.model, 9);
  EXPECT_EQ(at_9.bytes - at_8.bytes, static_cast<double>(4 * config.kv_elements_per_token()));
  EXPECT_EQ(at_9.flops - at_8.flops,
            static_cast<double>(4 * config.layers * config.heads * config.head_dim));
  const model::Work prefill = model::prefill_work(*runner.model, 1),
                    decode = model::decode_work(*runner.model, 1);
  EXPECT_EQ(prefill.flops, decode.flops);
}

INSTANTIATE_TEST_SUITE_P(Families, Reference, testing::Values("llama", "phi3", "qwen2", "qwen3"),
                         [](const auto& family) { return std::string(family.param); });

TEST(Forward, RefusesWhatItCannotRun) {
  QSWEEP_NEEDS_REFERENCE("llama");
  Runner runner(test::reference_folder("llama"));
  auto state = model::make_state(*runner.model, 4);
  const auto message = [&](const std::vector<int32_t>& tokens) -> std::string {
    try {
      runner.continue_logits(*state, tokens);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(message({1, 1024}).find("token id 1024 out of range"), std::string::npos);
  EXPECT_NE(message({-1}).find("token id -1 out of range"), std::string::npos);
  EXPECT_NE(message({1, 2, 3, 4, 5}).find("the state is full"), std::string::npos);
  EXPECT_EQ(model::state_length(*state), 0);  // a refused call leaves no trace
  EXPECT_EQ(message({1, 2, 3, 4}), "");
  EXPECT_NE(message({5}).find("room for 0"), std::string::npos);
  model::reset_state(*state);
  EXPECT_EQ(message({1}), "");
  EXPECT_THROW(model::make_state(*runner.model, 0), Error);
  EXPECT_THROW(model::make_state(*runner.model, 1 << 20), Error);
  device::Context other{.compute = device::Compute::bf16};
  const int32_t token = 1;
  const model::Chunk chunk{state.get(), {&token, 1}};
  EXPECT_THROW(model::forward(other, *runner.model, {&chunk, 1}), Error);
}

TEST(Forward, MambaIsRefusedByName) {
  QSWEEP_NEEDS_REFERENCE("mamba2");
  try {
    Runner runner(test::reference_folder("mamba2"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    EXPECT_NE(std::string(error.what()).find("not available yet"), std::string::npos);
  }
}

}  // namespace
}  // namespace qsweep
