#include "model/tokenizer/post_processor.hpp"

#include "model/tokenizer/bounds.hpp"
#include "model/tokenizer/utf8.hpp"
#include "model/tokenizer/vocabulary.hpp"

namespace qsweep::model::tok {
namespace {

using IsToken = std::function<bool(int64_t)>;

std::vector<int32_t> parse_special(const Place& place, const IsToken& is_token) {
  std::vector<int32_t> ids;
  const Place list = place.at("ids");
  if (list.size() > max_template_ids) list.fail("too many ids", "at most 1024");
  for (size_t i = 0; i < list.size(); ++i) {
    const int64_t id = list.at(i).integer(0, max_token_id);
    if (!is_token(id))
      list.at(i).fail("id " + std::to_string(id) + " names no token", "not in the file");
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

// Only `single` is read: the project never encodes pairs.
Template parse_template(const Place& place, const IsToken& is_token) {
  Template parts;
  size_t texts = 0, ids = 0;
  const Place single = place.at("single");
  for (size_t i = 0; i < single.size(); ++i) {
    const Place part = single.at(i);
    if (const auto sequence = part.find("Sequence")) {
      if (sequence->at("id").string() != "A") {
        sequence->fail("unknown sequence", "a template for one text has only 'A'");
      }
      parts.push_back({true, {}});
      ++texts;
    } else if (const auto special = part.find("SpecialToken")) {
      const std::string& name = special->at("id").string();
      parts.push_back({false, parse_special(place.at("special_tokens").at(name), is_token)});
      ids += parts.back().ids.size();
      if (ids > max_template_ids) part.fail("too many ids in the template", "at most 1024");
    } else {
      part.fail("unknown part of a template", "expected Sequence or SpecialToken");
    }
  }
  if (texts != 1) {
    single.fail("sequence 'A' stands " + std::to_string(texts) + " times in the template",
                "a text would be lost or doubled");
  }
  return parts;
}

void parse_into(const Place& place, const IsToken& is_token, PostProcessor& steps) {
  const std::string& type = place.at("type").string();
  if (type == "Sequence") {
    const Place list = place.at("processors");
    for (size_t i = 0; i < list.size(); ++i) parse_into(list.at(i), is_token, steps);
  } else if (type == "TemplateProcessing") {
    check_steps(place, steps.size());
    steps.push_back(parse_template(place, is_token));
  } else if (type != "ByteLevel") {  // that one trims offsets, which nobody here asks for
    place.fail("unsupported post_processor '" + printable(type) + "'",
               "known: Sequence, TemplateProcessing, ByteLevel");
  }
}

}  // namespace

PostProcessor parse_post_processor(const Place& place, const IsToken& is_token) {
  PostProcessor steps;
  if (!place.is_null()) parse_into(place, is_token, steps);
  return steps;
}

std::vector<int32_t> post_process(const PostProcessor& processor, std::vector<int32_t> ids,
                                  bool add_special_tokens) {
  if (!add_special_tokens) return ids;
  for (const Template& parts : processor) {
    std::vector<int32_t> out;
    for (const TemplatePart& part : parts) {
      const std::vector<int32_t>& source = part.is_text ? ids : part.ids;
      out.insert(out.end(), source.begin(), source.end());
    }
    ids = std::move(out);
  }
  return ids;
}

}  // namespace qsweep::model::tok
