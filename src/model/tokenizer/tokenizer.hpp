// Text to token ids and back, as the `tokenizer.json` of a published checkpoint prescribes:
//   encode: cut out added tokens, normalize, pre-tokenize into words, BPE, post-process (BOS, ...)
//   decode: ids to token strings, decoder
// Same ids as huggingface/tokenizers for the stages it supports; anything else in the file is
// refused. Only characters younger than the Unicode tables of PCRE2 and utf8proc (version 14) may
// be cut or ordered otherwise.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qsweep::model {

// Immutable; copies share their tables and any member may be called from several threads.
class Tokenizer {
 public:
  // A model folder, or its tokenizer.json; a tokenizer_config.json beside it names BOS and EOS.
  // Throws Error{invalid_input} naming file and JSON place, Error{io} if a file cannot be read.
  static Tokenizer load(const std::filesystem::path& model_dir_or_json);

  // Ill-formed UTF-8 is read as U+FFFD, one for each maximal ill-formed part. Special tokens
  // written out in the text are recognised; `add_special_tokens` is about those that the
  // post-processor adds around it.
  std::vector<int32_t> encode(std::string_view utf8, bool add_special_tokens) const;

  // Valid UTF-8, without clean-up of spaces. Ids at or above vocab_size(), and ids in gaps, stand
  // for nothing (padded rows of a model's head); a negative id throws.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  int64_t vocab_size() const;  // largest id + 1, added tokens included
  std::optional<int32_t> token_to_id(std::string_view token) const;
  std::string id_to_token(int32_t id) const;  // throws if no token has this id
  bool is_special(int32_t id) const;
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  std::string fingerprint() const;  // SHA-256 of the bytes of tokenizer.json, 64 hex digits

  struct Pipeline;  // defined in pipeline.hpp, for the tokenizer's own files

 private:
  explicit Tokenizer(std::shared_ptr<const Pipeline> pipeline);
  std::shared_ptr<const Pipeline> pipeline_;
};

}  // namespace qsweep::model
