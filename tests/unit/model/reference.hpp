// The reference checkpoints of ../shared (random models with outputs of transformers), for tests
// that skip aloud where the folder is missing.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/files.hpp"
#include "model/model.hpp"
#include "unit/model/npz.hpp"
#include "unit/source_folder.hpp"

namespace qsweep::test {

inline std::filesystem::path shared_folder() {
  const char* variable = std::getenv("QSWEEP_SHARED");
  return variable != nullptr ? std::filesystem::path(variable) : source_folder() / ".." / "shared";
}

inline std::filesystem::path reference_folder(const std::string& name) {
  return shared_folder() / "reference" / name;
}

#define QSWEEP_NEEDS_REFERENCE(name)                                                         \
  if (!std::filesystem::exists(qsweep::test::reference_folder(name) / "reference.npz")) {    \
    GTEST_SKIP() << "reference checkpoint '" << name << "' not found in "                    \
                 << qsweep::test::shared_folder() << "; set QSWEEP_SHARED to where it lies"; \
  }

// One prompt of a reference with what transformers made of it.
struct Prompt {
  std::vector<int32_t> tokens;
  std::vector<int32_t> rows;    // positions whose logits are stored
  std::vector<float> logits;    // [rows, vocab]
  std::vector<int32_t> greedy;  // 24 ids
  double bf16_error = 0;  // relative error of transformers' own bf16 logits over the whole prompt
  double nll = 0;         // mean next-token negative log-likelihood [nat], fp32
};

inline std::map<int, Prompt> load_prompts(const std::string& name) {
  const auto folder = reference_folder(name);
  const Npz npz(folder / "reference.npz");
  const auto json = nlohmann::json::parse(read_file(folder / "reference.json", 1 << 20));
  std::map<int, Prompt> prompts;
  for (const auto& [length, entry] : json.at("lengths").items()) {
    Prompt& prompt = prompts[std::stoi(length)];
    prompt.tokens = npz.array<int32_t>("input_" + length);
    prompt.rows = npz.array<int32_t>("logit_rows_" + length);
    prompt.logits = npz.array<float>("logits_" + length);
    prompt.greedy = entry.at("greedy_24").get<std::vector<int32_t>>();
    prompt.bf16_error = entry.at("rel_err_bf16").get<double>();
    prompt.nll = entry.at("mean_nll_fp32").get<double>();
  }
  return prompts;
}

// A model of one reference, and the usual ways of running it.
struct Runner {
  device::Context context;
  std::shared_ptr<model::Model> model;

  Runner(const std::filesystem::path& folder, device::Context ctx = {},
         quant::QuantConfig config = {})
      : context(ctx), model(model::build_model(model::Checkpoint::open(folder), config, ctx)) {}

  int64_t vocab() const { return model::config_of(*model).vocab; }

  // Logits of all positions after `tokens`, fed in pieces of at most `piece` tokens.
  std::vector<float> logits(const std::vector<int32_t>& tokens, size_t piece = SIZE_MAX) {
    auto state = model::make_state(*model, static_cast<int64_t>(tokens.size()));
    return continue_logits(*state, tokens, piece);
  }

  std::vector<float> continue_logits(model::State& state, const std::vector<int32_t>& tokens,
                                     size_t piece = SIZE_MAX) {
    std::vector<float> result;
    for (size_t at = 0; at < tokens.size(); at += std::min(piece, tokens.size() - at)) {
      const std::span<const int32_t> part(tokens.data() + at, std::min(piece, tokens.size() - at));
      const model::Chunk chunk{&state, part};
      const model::Matrix hidden = model::forward(context, *model, {&chunk, 1});
      const model::Matrix rows =
          model::on_host(model::logits(context, *model, hidden.data(), hidden.rows));
      result.insert(result.end(), rows.data(), rows.data() + rows.rows * rows.cols);
    }
    return result;
  }

  std::vector<int32_t> generate(const std::vector<int32_t>& prompt, size_t count) {
    auto state = model::make_state(*model, static_cast<int64_t>(prompt.size() + count));
    std::vector<int32_t> next = prompt, generated;
    while (generated.size() < count) {
      const std::vector<float> rows = continue_logits(*state, next);
      const std::span<const float> last(rows.data() + rows.size() - static_cast<size_t>(vocab()),
                                        static_cast<size_t>(vocab()));
      generated.push_back(model::argmax(last));
      next = {generated.back()};
    }
    return generated;
  }
};

// ||a - b|| / ||b||
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace qsweep::test
