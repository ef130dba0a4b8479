// Small tokenizers for the tests: a document that loads, changed in one place, written to a folder
// of its own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "model/tokenizer/tokenizer.hpp"

namespace qsweep::model::test {

using nlohmann::json;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qsweep-tok-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("cannot make a temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }

 private:
  std::filesystem::path path_;
};

inline Tokenizer load_text(const std::string& tokenizer_json, const std::string& config = "") {
  TemporaryFolder folder;
  folder.write("tokenizer.json", tokenizer_json);
  if (!config.empty()) folder.write("tokenizer_config.json", config);
  return Tokenizer::load(folder.path());
}

// Characters a, b, c, blank and the tokens that the merges make: ab=4, abc=5, bc=6; rank order ab,
// bc, ab+c.
inline json small_document() {
  return json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
              "vocab": {"a": 0, "b": 1, "c": 2, " ": 3, "ab": 4, "abc": 5, "bc": 6},
              "merges": [["a", "b"], ["b", "c"], ["ab", "c"]]}})");
}

inline json added_token(int id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

// Every byte has its token, id = byte; nothing is merged. Encodes any text, so what a test sees is
// the stages before the model.
inline json byte_document() {
  json document = small_document();
  json vocabulary = json::object();
  char name[8];
  for (int byte = 0; byte < 256; ++byte) {
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    vocabulary[name] = byte;
  }
  document["model"]["vocab"] = vocabulary;
  document["model"]["merges"] = json::array();
  document["model"]["byte_fallback"] = true;
  document["decoder"] = {{"type", "Sequence"},
                         {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  return document;
}

// The message of the Error that loading throws; a test fails if nothing is thrown.
inline std::string load_error(const std::string& tokenizer_json, const std::string& config = "") {
  try {
    load_text(tokenizer_json, config);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "loading did not throw";
  return {};
}

inline std::filesystem::path shared_folder() {
  const char* given = std::getenv("QSWEEP_SHARED");
  return given ? std::filesystem::path(given)
               : std::filesystem::path(QSWEEP_SOURCE_DIR) / ".." / "shared";
}

using Ids = std::vector<int32_t>;

}  // namespace qsweep::model::test
