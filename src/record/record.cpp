// RunRecord: every name is looked up in the schema, every type and shape is checked, when it is
// put.
#include "record/record.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "record/schema.hpp"
#include "record/text.hpp"

namespace qsweep::record {
namespace {

// Index of the schema type in Attribute and Values alike is: integer, real, text.
schema::Type type_of(const Attribute& value) {
  return std::holds_alternative<int64_t>(value)  ? schema::Type::integer
         : std::holds_alternative<double>(value) ? schema::Type::real
                                                 : schema::Type::text;
}

schema::Type type_of(const Values& values) {
  return std::holds_alternative<std::vector<int64_t>>(values)  ? schema::Type::integer
         : std::holds_alternative<std::vector<double>>(values) ? schema::Type::real
                                                               : schema::Type::text;
}

}  // namespace

std::string clean_text(std::string_view text) {
  // Nearly all text is plain ASCII, and ten thousand records hold millions of it.
  const auto plain = [](char c) { return c > '\0' && c < '\x7F'; };
  if (std::ranges::all_of(text, plain)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text.substr(i));
    if (length == 0 || text[i] == '\0') {
      out += "\xEF\xBF\xBD";
      ++i;
    } else {
      out.append(text.substr(i, length));
      i += length;
    }
  }
  return out;
}

std::vector<std::string> split_dims(std::string_view dims) {
  std::vector<std::string> names;
  while (!dims.empty()) {
    const size_t comma = dims.find(',');
    names.emplace_back(dims.substr(0, comma));
    dims = comma == std::string_view::npos ? std::string_view() : dims.substr(comma + 1);
  }
  return names;
}

void RunRecord::set(const std::string& name, Attribute value) {
  const schema::AttributeInfo* info = schema::find_attribute(name);
  expect(info != nullptr, "attribute " + name + " stands in the record schema");
  expect(type_of(value) == info->type, "attribute " + name + " has the type of the record schema");
  if (auto* text = std::get_if<std::string>(&value)) *text = clean_text(*text);
  attributes[name] = std::move(value);
}

void RunRecord::metric(const std::string& name, double value) {
  expect(schema::find_metric(name) != nullptr, "metric " + name + " stands in the record schema");
  metrics[name] = value;
}

void RunRecord::put(const std::string& path, std::vector<int64_t> shape, Values values) {
  const schema::DatasetInfo* info = schema::find_dataset(path);
  expect(info != nullptr, "dataset " + path + " stands in the record schema");
  expect(type_of(values) == info->type, "dataset " + path + " has the type of the record schema");
  expect(shape.size() == split_dims(info->dims).size(),
         "dataset " + path + " has the dimensions of the record schema");
  const int64_t product =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
  const auto count =
      std::visit([](const auto& v) { return static_cast<int64_t>(v.size()); }, values);
  expect(product == count, "the shape of dataset " + path + " is that of its values");
  if (auto* texts = std::get_if<std::vector<std::string>>(&values)) {
    for (std::string& text : *texts) text = clean_text(text);
  }
  datasets[path] = {std::move(shape), std::move(values)};
}

void RunRecord::put(const std::string& path, Values values) {
  const auto count =
      std::visit([](const auto& v) { return static_cast<int64_t>(v.size()); }, values);
  put(path, {count}, std::move(values));
}

}  // namespace qsweep::record
