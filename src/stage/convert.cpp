#include "stage/convert.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "stage/json_detail.hpp"

namespace qsweep::stage {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Type = json::value_t;

constexpr size_t max_choices = 64;

// One item being made: its place for messages and its number for its name.
struct Item {
  std::string place, name;
  size_t number = 0;
  std::string id() const { return name + "-" + std::to_string(number); }
};

const json& list_member(const json& value, const char* key, const Item& item) {
  return member(value, key, Type::array, item.place);
}

// A right answer must be one of the choices.
ordered_json checked_choices(const std::vector<std::string>& choices, size_t answer,
                             const Item& item) {
  if (choices.size() < 2 || choices.size() > max_choices || answer >= choices.size()) {
    throw_invalid(item.place + ": no usable choices",
                  std::to_string(choices.size()) + " choices, answer " + std::to_string(answer));
  }
  return choices;
}

std::string text_of(const json& value, const Item& item) {
  if (!value.is_string()) throw_invalid(item.place + ": a choice is no text", value.type_name());
  return value.get<std::string>();
}

ordered_json choice_item(const json& row, const Item& item) {
  const json& question = member(row, "question", Type::object, item.place);
  const std::string& key = text_member(row, "answerKey", item.place);
  std::vector<std::string> choices;
  size_t answer = max_choices;
  for (const json& choice : list_member(question, "choices", item)) {
    if (text_member(choice, "label", item.place) == key) answer = choices.size();
    choices.push_back(text_member(choice, "text", item.place));
  }
  return {{"id", text_member(row, "id", item.place)},
          {"question", text_member(question, "stem", item.place)},
          {"choices", checked_choices(choices, answer, item)},
          {"answer", answer}};
}

ordered_json hellaswag_item(const json& row, const Item& item) {
  std::vector<std::string> choices;
  for (const json& ending : list_member(row, "endings", item))
    choices.push_back(text_of(ending, item));
  const auto answer = member(row, "label", Type::number_unsigned, item.place).get<size_t>();
  const auto id = member(row, "ind", Type::number_unsigned, item.place).get<uint64_t>();
  return {{"id", item.name + "-" + std::to_string(id)},
          {"activity", text_member(row, "activity_label", item.place)},
          {"ctx_a", text_member(row, "ctx_a", item.place)},
          {"ctx_b", text_member(row, "ctx_b", item.place)},
          {"choices", checked_choices(choices, answer, item)},
          {"answer", answer}};
}

ordered_json gsm8k_item(const json& row, const Item& item) {
  const std::string& answer = text_member(row, "answer", item.place);
  if (answer.find("#### ") == std::string::npos)
    throw_invalid(item.place + ": an answer without a result", "no line '#### N' ends it");
  return {{"id", item.id()},
          {"question", text_member(row, "question", item.place)},
          {"answer", answer}};
}

ordered_json lambada_item(const json& row, const Item& item) {
  const std::string& text = text_member(row, "text", item.place);
  if (text.find(' ') == std::string::npos)
    throw_invalid(item.place + ": a passage of one word", "its last word is to be guessed");
  return {{"id", item.id()}, {"text", text}};
}

std::string line_place(const std::string& place, size_t number) {
  return place + ":" + std::to_string(number);
}

// Calls take(line, number from 1) for each line with its end.
template <class Take>
void for_each_line(std::string_view text, const Take& take) {
  for (size_t begin = 0, number = 1; begin < text.size(); ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    take(text.substr(begin, end - begin), number);
    begin = end;
  }
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

void require_utf8(std::string_view line, const std::string& place) {
  while (!line.empty()) {
    const size_t length = utf8_length(line);
    if (length == 0) throw_invalid(place + ": not a text", "bytes that are no UTF-8");
    line.remove_prefix(length);
  }
}

Converted rows_of(std::string_view text, const std::string& place) {
  Converted out;
  for_each_line(text, [&](std::string_view line, size_t number) {
    require_utf8(line, line_place(place, number));
    out.jsonl += json_line(
        ordered_json::object({{"text", is_blank(line) ? std::string() : std::string(line)}}));
    ++out.rows;
  });
  return out;
}

template <class Make>
Converted items_of(std::string_view text, const std::string& name, const std::string& place,
                   const Make& make) {
  Converted out;
  for_each_line(text, [&](std::string_view line, size_t number) {
    if (is_blank(line)) return;
    const Item item{line_place(place, number), name, out.rows};
    out.jsonl += json_line(make(parse_json(line, item.place), item));
    ++out.rows;
  });
  return out;
}

void add_question(const json& question, const std::string& title, const std::string& context,
                  const std::string& place, Converted& out) {
  ordered_json answers = ordered_json::array(), starts = ordered_json::array();
  for (const json& answer : member(question, "answers", Type::array, place)) {
    answers.push_back(text_member(answer, "text", place));
    starts.push_back(member(answer, "answer_start", Type::number_unsigned, place).get<uint64_t>());
  }
  if (answers.empty()) throw_invalid(place + ": a question without an answer", "v1.1 has none");
  out.jsonl += json_line({{"id", text_member(question, "id", place)},
                          {"title", title},
                          {"context", context},
                          {"question", text_member(question, "question", place)},
                          {"answers", std::move(answers)},
                          {"starts", std::move(starts)}});
  ++out.rows;
}

Converted squad_of(std::string_view text, const std::string& place) {
  Converted out;
  const json root = parse_json(text, place);
  size_t article_number = 0;
  for (const json& article : member(root, "data", Type::array, place)) {
    const std::string at = place + ": data[" + std::to_string(article_number++) + "]";
    const std::string& title = text_member(article, "title", at);
    for (const json& paragraph : member(article, "paragraphs", Type::array, at)) {
      const std::string& context = text_member(paragraph, "context", at);
      for (const json& question : member(paragraph, "qas", Type::array, at))
        add_question(question, title, context, at, out);
    }
  }
  return out;
}

Converted converted(Conversion conversion, std::string_view text, const std::string& name,
                    const std::string& place) {
  switch (conversion) {
    case Conversion::rows:
      return rows_of(text, place);
    case Conversion::choice:
      return items_of(text, name, place, choice_item);
    case Conversion::hellaswag:
      return items_of(text, name, place, hellaswag_item);
    case Conversion::gsm8k:
      return items_of(text, name, place, gsm8k_item);
    case Conversion::lambada:
      return items_of(text, name, place, lambada_item);
    case Conversion::squad:
      return squad_of(text, place);
  }
  throw Error(ErrorKind::internal, "a conversion without a function");
}

}  // namespace

Converted convert(Conversion conversion, std::string_view text, const std::string& name,
                  const std::string& place) {
  Converted out = converted(conversion, text, name, place);
  if (out.rows == 0) throw_invalid(place + ": nothing in it", "no item was found");
  return out;
}

}  // namespace qsweep::stage
