// Token strings and their ids. Ids may have gaps; below `max_token_id` they are bounded so that a
// table by id stays small.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace qsweep::model::tok {

// The largest published vocabularies have about 2^18 tokens.
inline constexpr int32_t max_token_id = (1 << 22) - 1;

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

class Vocabulary {
 public:
  // Says why not, and changes nothing, if the token or the id already has another partner.
  std::optional<std::string> add(std::string_view token, int32_t id);  // 0 <= id <= max_token_id

  std::optional<int32_t> id_of(std::string_view token) const;
  const std::string* token_of(int64_t id) const;  // null where no token has this id
  int64_t end_id() const { return static_cast<int64_t>(by_id_.size()); }  // largest id + 1

 private:
  std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>> by_token_;
  std::vector<const std::string*> by_id_;  // [end_id()], keys of by_token_, whose nodes never move
};

}  // namespace qsweep::model::tok
