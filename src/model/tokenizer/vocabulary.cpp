#include "model/tokenizer/vocabulary.hpp"

#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {

std::optional<std::string> Vocabulary::add(std::string_view token, int32_t id) {
  if (const auto known = id_of(token)) {
    if (*known == id) return std::nullopt;
    return "token '" + printable(token) + "' has the ids " + std::to_string(*known) + " and " +
           std::to_string(id);
  }
  if (const std::string* owner = token_of(id)) {
    return "id " + std::to_string(id) + " is given to '" + printable(*owner) + "' and to '" +
           printable(token) + "'";
  }
  const auto index = static_cast<size_t>(id);
  if (index >= by_id_.size()) by_id_.resize(index + 1, nullptr);
  by_id_[index] = &by_token_.emplace(token, id).first->first;
  return std::nullopt;
}

std::optional<int32_t> Vocabulary::id_of(std::string_view token) const {
  const auto it = by_token_.find(token);
  if (it == by_token_.end()) return std::nullopt;
  return it->second;
}

const std::string* Vocabulary::token_of(int64_t id) const {
  return id >= 0 && id < end_id() ? by_id_[static_cast<size_t>(id)] : nullptr;
}

}  // namespace qsweep::model::tok
