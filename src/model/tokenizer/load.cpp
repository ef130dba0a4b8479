// Reads tokenizer.json and tokenizer_config.json into a Pipeline. `truncation` and `padding` of the
// file are not applied: the length of a text is the business of who encodes it.
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/hash.hpp"
#include "model/tokenizer/pipeline.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model {
namespace {

namespace fs = std::filesystem;
using tok::Place;

constexpr uint64_t max_config_bytes = 64ull << 20;

// A section of the file; a missing one reads as null.
Place section(const Place& root, std::string_view key) {
  static const nlohmann::json null;
  const auto found = root.find(key);
  return found ? *found : Place(null, root.path() + std::string(key));
}

tok::Vocabulary all_tokens(const Tokenizer::Pipeline& pipeline, const Place& added) {
  tok::Vocabulary all;
  const tok::Vocabulary& model = pipeline.bpe.vocabulary();
  for (int64_t id = 0; id < model.end_id(); ++id) {
    if (const std::string* token = model.token_of(id)) all.add(*token, static_cast<int32_t>(id));
  }
  for (const tok::AddedToken& token : pipeline.added.tokens()) {
    if (const auto conflict = all.add(token.content, token.id))
      added.fail(*conflict, "added twice");
  }
  return all;
}

void read_pipeline(const Place& root, Tokenizer::Pipeline& pipeline) {
  if (const auto version = root.find("version"); version && version->string() != "1.0") {
    version->fail("unknown version '" + tok::printable(version->string()) + "'", "known: 1.0");
  }
  pipeline.normalizer = tok::parse_normalizer(section(root, "normalizer"));
  pipeline.pre_tokenizer = tok::parse_pre_tokenizer(section(root, "pre_tokenizer"));
  pipeline.bpe = tok::Bpe::parse(root.at("model"));
  const Place added = section(root, "added_tokens");
  if (!added.is_null()) {
    pipeline.added = tok::AddedTokens::parse(added, pipeline.bpe.vocabulary(), pipeline.normalizer);
  }
  pipeline.vocabulary = all_tokens(pipeline, added);
  pipeline.post_processor = tok::parse_post_processor(
      section(root, "post_processor"),
      [&](int64_t id) { return pipeline.vocabulary.token_of(id) != nullptr; });
  pipeline.decoder = tok::parse_decoder(section(root, "decoder"));
}

// "bos_token" and the like: a string, an object with its "content", or null.
std::optional<int32_t> named_token(const Place& config, std::string_view key,
                                   const tok::Vocabulary& vocabulary) {
  const auto member = config.find(key);
  if (!member) return std::nullopt;
  const std::string& token =
      member->is_object() ? member->at("content").string() : member->string();
  const auto id = vocabulary.id_of(token);
  if (!id)
    member->fail("token '" + tok::printable(token) + "' is not in tokenizer.json", "it has no id");
  return id;
}

}  // namespace

Tokenizer Tokenizer::load(const fs::path& given) {
  std::error_code ignored;
  const fs::path file = fs::is_directory(given, ignored) ? given / "tokenizer.json" : given;
  const std::string bytes = read_file(file, tok::max_json_bytes);
  auto pipeline = std::make_shared<Pipeline>();
  pipeline->fingerprint = sha256_hex(bytes);
  {
    const nlohmann::json document = tok::parse_strict_json(bytes, file.string());
    read_pipeline(Place(document, file.string() + ": "), *pipeline);
  }
  const fs::path config_file = file.parent_path() / "tokenizer_config.json";
  if (file_exists(config_file)) {
    const nlohmann::json config =
        tok::parse_strict_json(read_file(config_file, max_config_bytes), config_file.string());
    const Place root(config, config_file.string() + ": ");
    pipeline->bos_id = named_token(root, "bos_token", pipeline->vocabulary);
    pipeline->eos_id = named_token(root, "eos_token", pipeline->vocabulary);
  }
  return Tokenizer(std::move(pipeline));
}

}  // namespace qsweep::model
