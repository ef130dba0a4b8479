// Finding and tokenizing the texts that workloads read.
#include <algorithm>
#include <cstdlib>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "eval/workload.hpp"
#include "model/tokenizer/bounds.hpp"

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
    const char* staged = std::getenv("QSWEEP_DATA");
    if (staged != nullptr && try_path(fs::path(staged) / (data + ".txt"))) {
      return fs::path(staged) / (data + ".txt");
    }
  }
  for (const fs::path& root : search_folders(study_file)) {
    const fs::path candidate = is_name ? root / "data" / "datasets" / (data + ".txt") : root / data;
    if (try_path(candidate)) return candidate;
  }
  throw_invalid("text '" + data + "' is not there", "looked at " + looked,
                is_name ? "put the raw text there, or name a file with a path" : "");
}

TokenizedText tokenize_text(const fs::path& file, const model::Tokenizer& tokenizer,
                            int64_t max_tokens) {
  const std::string text = read_file(file, model::tok::max_text_bytes);
  TokenizedText result;
  result.sha256 = sha256_hex(std::string_view(text));
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
