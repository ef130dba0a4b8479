// Finding and tokenizing the texts that workloads read.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "eval/workload.hpp"
#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/strict_json.hpp"
#include "stage/datasets.hpp"

namespace qsweep::eval {
namespace fs = std::filesystem;
namespace {

bool is_blank(unsigned char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// Pieces between runs of ASCII white space.
int64_t count_words(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool blank = is_blank(static_cast<unsigned char>(c));
    if (!blank && !inside) ++words;
    inside = !blank;
  }
  return words;
}

}  // namespace

fs::path find_text(const std::string& data, const fs::path& study_file) {
  std::string looked;
  const auto try_path = [&looked](const fs::path& candidate) {
    std::error_code ignored;
    looked += (looked.empty() ? "" : ", ") + candidate.string();
    return fs::is_regular_file(candidate, ignored);
  };
  if (fs::path(data).is_absolute() && try_path(data)) return data;
  const bool is_name = is_safe_name(data) && data.find('.') == std::string::npos;
  if (is_name) {
    for (const fs::path& folder : stage::dataset_folders(study_file)) {
      for (const fs::path& candidate :
           {stage::dataset_path(folder, data), folder / (data + ".txt")}) {
        if (try_path(candidate)) return candidate;
      }
    }
  }
  for (const fs::path& root : search_folders(study_file)) {
    if (!is_name && try_path(root / data)) return root / data;
  }
  throw_invalid("text '" + data + "' is not there", "looked at " + looked,
                is_name ? "stage it, put the raw text there, or name a file with a path" : "");
}

std::string read_text(const fs::path& file) {
  std::string text = read_file(file, model::tok::max_text_bytes);
  if (file.extension() != ".jsonl") return text;
  std::string joined;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string place = file.string() + ":" + std::to_string(++number);
    const nlohmann::json row =
        model::tok::parse_strict_json(std::string_view(text).substr(begin, end - begin), place);
    if (number > 1) joined += "\n\n";
    joined += model::tok::Place(row, place + ": ").at("text").string();
    begin = end + 1;
  }
  return joined;
}

TokenizedText tokenize_text(const fs::path& file, const model::Tokenizer& tokenizer,
                            int64_t max_tokens) {
  const std::string text = read_text(file);
  TokenizedText result;
  result.sha256 = sha256_file(file);
  result.tokens = tokenizer.encode(text, true);
  const auto all = static_cast<int64_t>(result.tokens.size());
  if (all < 2) {
    throw_invalid(file.string() + ": too short a text",
                  std::to_string(all) + " tokens, and the first one is not scored",
                  "name a longer text");
  }
  if (max_tokens > 0 && max_tokens < all) {
    result.tokens.resize(static_cast<size_t>(max_tokens));
    const std::string covered = tokenizer.decode(result.tokens, true);
    result.words = count_words(covered);
    result.bytes = static_cast<int64_t>(covered.size());
  } else {
    result.words = count_words(text);
    result.bytes = static_cast<int64_t>(text.size());
  }
  return result;
}

}  // namespace qsweep::eval
