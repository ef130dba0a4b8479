#include "model/tokenizer/tokenizer.hpp"

#include "base/error.hpp"
#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/pipeline.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model {
namespace {

// The ids of the words seen so far in one call of encode(); most words of a document are repeats.
// It lives in the call, so encode() needs no lock.
class WordCache {
 public:
  explicit WordCache(const tok::Bpe& bpe) : bpe_(bpe) {}

  void encode(const std::string& word, std::vector<int32_t>& ids) {
    if (word.size() > max_word_bytes) return bpe_.encode(word, ids);
    const auto known = ids_of_.find(word);
    if (known != ids_of_.end()) {
      ids.insert(ids.end(), known->second.begin(), known->second.end());
      return;
    }
    const size_t first = ids.size();
    bpe_.encode(word, ids);
    if (ids_of_.size() < max_words) {
      ids_of_.emplace(word,
                      std::vector<int32_t>(ids.begin() + static_cast<ptrdiff_t>(first), ids.end()));
    }
  }

 private:
  static constexpr size_t max_word_bytes = 64;
  static constexpr size_t max_words = 1 << 16;  // about 10 MB

  const tok::Bpe& bpe_;
  std::unordered_map<std::string, std::vector<int32_t>> ids_of_;
};

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Pipeline> pipeline) : pipeline_(std::move(pipeline)) {}

std::vector<int32_t> Tokenizer::encode(std::string_view utf8, bool add_special_tokens) const {
  const Pipeline& p = *pipeline_;
  tok::check_growth(utf8.size(), tok::max_text_bytes);
  const std::string text = tok::sanitize_utf8(utf8);
  const uint64_t limit = tok::grown_limit(text.size());
  std::vector<int32_t> ids;
  WordCache words(p.bpe);
  for (const tok::AddedSegment& raw : p.added.cut_raw(text)) {
    if (raw.token) {
      ids.push_back(raw.token->id);
      continue;
    }
    const std::string piece =
        tok::normalize(p.normalizer, text.substr(raw.begin, raw.end - raw.begin));
    for (const tok::AddedSegment& part : p.added.cut_normalized(piece)) {
      if (part.token) {
        ids.push_back(part.token->id);
        continue;
      }
      tok::Word input{piece.substr(part.begin, part.end - part.begin),
                      raw.begin == 0 && part.begin == 0};
      for (const tok::Word& word : tok::pre_tokenize(p.pre_tokenizer, std::move(input))) {
        words.encode(word.text, ids);
      }
      tok::check_growth(ids.size(), limit);
    }
  }
  return tok::post_process(p.post_processor, std::move(ids), add_special_tokens);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  const Pipeline& p = *pipeline_;
  tok::Strings tokens;
  tokens.reserve(ids.size());
  uint64_t bytes = 0;
  for (const int32_t id : ids) {
    if (id < 0)
      throw_invalid("cannot decode token id " + std::to_string(id), "ids are not negative");
    const tok::AddedToken* added = p.added.find(id);
    if (added && added->special && skip_special_tokens) continue;
    // The normalized form is what stood in the text that the decoder undoes.
    if (added) {
      tokens.push_back(added->pattern);
    } else if (const std::string* token = p.vocabulary.token_of(id)) {
      tokens.push_back(*token);
    } else {
      continue;
    }
    bytes += tokens.back().size();
    tok::check_growth(bytes, tok::max_text_bytes);
  }
  return tok::decode(p.decoder, std::move(tokens));
}

int64_t Tokenizer::vocab_size() const {
  return pipeline_->vocabulary.end_id();
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return pipeline_->vocabulary.id_of(token);
}

std::string Tokenizer::id_to_token(int32_t id) const {
  const std::string* token = pipeline_->vocabulary.token_of(id);
  if (!token) {
    throw_invalid("no token has id " + std::to_string(id),
                  "the tokenizer's ids end before " + std::to_string(vocab_size()));
  }
  return *token;
}

bool Tokenizer::is_special(int32_t id) const {
  const tok::AddedToken* added = pipeline_->added.find(id);
  return added && added->special;
}

std::optional<int32_t> Tokenizer::bos_id() const {
  return pipeline_->bos_id;
}
std::optional<int32_t> Tokenizer::eos_id() const {
  return pipeline_->eos_id;
}
std::string Tokenizer::fingerprint() const {
  return pipeline_->fingerprint;
}

}  // namespace qsweep::model
