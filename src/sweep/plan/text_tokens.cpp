#include "sweep/plan/text_tokens.hpp"

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "stage/datasets.hpp"
#include "sweep/plan/locate.hpp"

namespace qsweep::sweep {
namespace fs = std::filesystem;
namespace {

// A text has at most 2^30 bytes, and hardly more tokens; one takes 4 bytes.
constexpr uint64_t max_file_bytes = uint64_t{5} << 30;
constexpr size_t seal_bytes = 64;

// Everything that decides the tokens.
std::string key_of(const fs::path& text, const fs::path& model_folder, int64_t max_tokens) {
  static const std::string program = sha256_file("/proc/self/exe");
  std::string all = program + "\n" + sha256_file(text) + "\n" +
                    (text.extension() == ".jsonl" ? "rows" : "text") + "\n" +
                    std::to_string(max_tokens) + "\n";
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "config.json"}) {
    const fs::path file = model_folder / name;
    all += file_exists(file) ? sha256_file(file) + "\n" : "-\n";
  }
  return sha256_hex(std::string_view(all));
}

fs::path token_file(const Study& study, const std::string& key) {
  return stage::dataset_folder(study.file) / "tokens" / (key.substr(0, 32) + ".tokens");
}

// A line of JSON, the tokens as 32-bit integers of this machine, the SHA-256 of all that as text.
std::string pack(const eval::TokenizedText& text, const std::string& key) {
  const nlohmann::json head = {{"key", key},
                               {"sha256", text.sha256},
                               {"tokens", text.tokens.size()},
                               {"words", text.words},
                               {"bytes", text.bytes}};
  std::string packed = head.dump() + "\n";
  packed.append(reinterpret_cast<const char*>(text.tokens.data()),
                text.tokens.size() * sizeof(int32_t));
  return packed + sha256_hex(std::string_view(packed));
}

std::optional<eval::TokenizedText> unpack(const std::string& packed, const std::string& key) {
  if (packed.size() < seal_bytes) return std::nullopt;
  const std::string_view sealed = std::string_view(packed).substr(0, packed.size() - seal_bytes);
  if (sha256_hex(sealed) != std::string_view(packed).substr(sealed.size())) return std::nullopt;
  const size_t end = sealed.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const auto head = nlohmann::json::parse(sealed.substr(0, end), nullptr, false);
  eval::TokenizedText text;
  try {
    if (head.at("key") != key) return std::nullopt;
    text.sha256 = head.at("sha256");
    text.words = head.at("words");
    text.bytes = head.at("bytes");
    const size_t count = head.at("tokens");
    if (count != (sealed.size() - end - 1) / sizeof(int32_t)) return std::nullopt;
    text.tokens.resize(count);
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
  std::memcpy(text.tokens.data(), sealed.data() + end + 1, text.tokens.size() * sizeof(int32_t));
  return text;
}

// Nothing where it is not there, damaged, or cannot be read: then the text is tokenized.
std::optional<eval::TokenizedText> read_tokens(const fs::path& file, const std::string& key) {
  try {
    const auto packed = read_file_if_there(file, max_file_bytes);
    return packed ? unpack(*packed, key) : std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

eval::TokenizedText tokens_of(const Study& study, const eval::PerplexityParams& params,
                              const model::Tokenizer& tokenizer, const fs::path& model_folder) {
  const fs::path text = eval::find_text(params.data, study.file);
  const std::string key = key_of(text, model_folder, params.max_tokens);
  if (auto staged = read_tokens(token_file(study, key), key)) return *staged;
  return eval::tokenize_text(text, tokenizer, params.max_tokens);
}

TokenReport stage_tokens(const Plan& plan) {
  TokenReport report;
  const Stopwatch watch;
  fs::path folder;
  std::optional<model::Tokenizer> tokenizer;
  for (const eval::PerplexityParams& params : texts_of(plan)) {
    if (folder.empty()) folder = locate_model(plan.study);
    const fs::path text = eval::find_text(params.data, plan.study.file);
    const std::string key = key_of(text, folder, params.max_tokens);
    const fs::path file = token_file(plan.study, key);
    auto tokens = read_tokens(file, key);
    ++report.texts;
    if (!tokens) {
      if (!tokenizer) tokenizer = model::Tokenizer::load(folder);
      tokens = eval::tokenize_text(text, *tokenizer, params.max_tokens);
      write_file_atomic(file, pack(*tokens, key));
      ++report.made;
    }
    report.tokens += static_cast<int64_t>(tokens->tokens.size());
  }
  report.seconds = watch.seconds();
  return report;
}

}  // namespace qsweep::sweep
