// Puts special tokens around the ids of a text, e.g. BOS in front. A Sequence is read as its steps
// in order; steps that only move character offsets have no effect on ids and leave no trace.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "model/tokenizer/strict_json.hpp"

namespace qsweep::model::tok {

struct TemplatePart {
  bool is_text;              // the ids of the text itself
  std::vector<int32_t> ids;  // otherwise these
};
using Template = std::vector<TemplatePart>;
using PostProcessor = std::vector<Template>;

// `is_token` says whether an id names a token.
PostProcessor parse_post_processor(const Place& place,
                                   const std::function<bool(int64_t)>& is_token);
std::vector<int32_t> post_process(const PostProcessor& processor, std::vector<int32_t> ids,
                                  bool add_special_tokens);

}  // namespace qsweep::model::tok
