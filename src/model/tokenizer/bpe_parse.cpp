// The `model` section of tokenizer.json: options, vocabulary {"token": id, ...}, merges as ["a",
// "b"] pairs or (older files) "a b" lines, best first.
#include <nlohmann/json.hpp>

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/bpe.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

std::string affix_or_empty(const Place& place, std::string_view key) {
  const auto member = place.find(key);
  return member ? bounded_text(*member, max_inserted_bytes) : std::string();
}

bool boolean_or_false(const Place& place, std::string_view key) {
  const auto member = place.find(key);
  return member && member->boolean();
}

void parse_vocabulary(const Place& place, Vocabulary& vocabulary) {
  if (!place.is_object()) place.fail("wrong type", "expected an object of token: id");
  for (const auto& [token, value] : place.value().items()) {
    const Place entry(value, place.path() + "['" + printable(token) + "']");
    const auto id = static_cast<int32_t>(entry.integer(0, max_token_id));
    if (token.size() > max_token_bytes) {
      entry.fail("token too long", std::to_string(token.size()) + " bytes, at most " +
                                       std::to_string(max_token_bytes));
    }
    if (const auto conflict = vocabulary.add(token, id))
      entry.fail(*conflict, "ids must be unique");
  }
  if (vocabulary.end_id() == 0) place.fail("no tokens", "the vocabulary is empty");
}

}  // namespace

Bpe Bpe::parse(const Place& model) {
  // The oldest files do not name the type.
  const auto type = model.find("type");
  if (type && type->string() != "BPE") {
    model.fail("unsupported model '" + printable(type->string()) + "'", "known: BPE");
  }
  if (const auto dropout = model.find("dropout")) {
    if (!dropout->value().is_number() || dropout->value().get<double>() != 0) {
      dropout->fail("unsupported dropout", "encoding would be random", "set it to null");
    }
  }
  Bpe bpe;
  bpe.continuing_prefix_ = affix_or_empty(model, "continuing_subword_prefix");
  bpe.end_suffix_ = affix_or_empty(model, "end_of_word_suffix");
  bpe.fuse_unknown_ = boolean_or_false(model, "fuse_unk");
  bpe.byte_fallback_ = boolean_or_false(model, "byte_fallback");
  bpe.ignore_merges_ = boolean_or_false(model, "ignore_merges");
  parse_vocabulary(model.at("vocab"), bpe.vocabulary_);
  bpe.parse_merges(model.at("merges"));
  bpe.find_byte_tokens();
  if (const auto unknown = model.find("unk_token")) {
    bpe.unknown_id_ = bpe.vocabulary_.id_of(unknown->string());
    if (!bpe.unknown_id_) {
      unknown->fail("unk_token '" + printable(unknown->string()) + "' is not in the vocabulary",
                    "characters without a token could not be encoded");
    }
  }
  return bpe;
}

void Bpe::parse_merges(const Place& merges) {
  const size_t count = merges.size();
  merges_.reserve(count);
  uint32_t rank = 0;
  for (size_t i = 0; i < count; ++i) {
    const nlohmann::json& entry = merges.value()[i];
    if (entry.is_string()) {
      const std::string_view line = entry.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;  // the header line takes no rank
      const size_t space = line.find(' ');
      if (space == line.npos || line.find(' ', space + 1) != line.npos) {
        merges.at(i).fail("malformed merge", "expected two tokens with one space between");
      }
      add_merge(line.substr(0, space), line.substr(space + 1), rank++, merges.at(i));
    } else {
      const Place pair = merges.at(i);
      if (pair.size() != 2) pair.fail("malformed merge", "expected two tokens");
      const std::string& left = pair.at(0).string();
      const std::string& right = pair.at(1).string();
      add_merge(left, right, rank++, pair);
    }
  }
}

void Bpe::add_merge(std::string_view left, std::string_view right, uint32_t rank,
                    const Place& place) {
  const auto id_of = [&](std::string_view token) {
    const auto id = vocabulary_.id_of(token);
    if (!id) {
      place.fail("token '" + printable(token) + "' is not in the vocabulary",
                 "a merge needs both parts and their union");
    }
    return *id;
  };
  const int32_t left_id = id_of(left);
  const int32_t right_id = id_of(right);
  if (!right.starts_with(continuing_prefix_)) {
    place.fail("the right part lacks the prefix '" + printable(continuing_prefix_) + "'",
               "continuing_subword_prefix says that it has it");
  }
  std::string joined(left);
  joined.append(right.substr(continuing_prefix_.size()));
  // The last of equal pairs counts, as in the reference implementation.
  merges_.insert_or_assign(static_cast<uint64_t>(left_id) << 32 | static_cast<uint32_t>(right_id),
                           Merge{rank, id_of(joined)});
}

}  // namespace qsweep::model::tok
