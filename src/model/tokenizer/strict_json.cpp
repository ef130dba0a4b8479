#include "model/tokenizer/strict_json.hpp"

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.hpp"
#include "model/tokenizer/utf8.hpp"

namespace qsweep::model::tok {
namespace {

using nlohmann::json;

// Builds the tree from parse events. nlohmann's own builder keeps the last of two equal keys and
// knows no bounds; both matter for files from outside.
class BoundedBuilder {
 public:
  explicit BoundedBuilder(const std::string& name) : name_(name) {}

  bool null() { return put(nullptr) != nullptr; }
  bool boolean(bool value) { return put(value) != nullptr; }
  bool number_integer(int64_t value) { return put(value) != nullptr; }
  bool number_unsigned(uint64_t value) { return put(value) != nullptr; }
  bool number_float(double value, const std::string&) { return put(value) != nullptr; }
  bool string(std::string& value) { return put(std::move(value)) != nullptr; }
  bool binary(json::binary_t&) { return false; }
  bool start_object(size_t) { return open(json::object()); }
  bool start_array(size_t) { return open(json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    auto [it, inserted] = open_.back()->emplace(std::move(name), nullptr);
    if (!inserted) {
      throw_invalid(name_ + ": key '" + printable(it.key()) + "' stands twice in one object",
                    "readers differ on which one counts");
    }
    slot_ = &it.value();
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    throw_invalid(
        name_ + ": not valid JSON",
        "byte " + std::to_string(position) + ": " + printable(sanitize_utf8(error.what()), 240),
        "is the file complete?");
  }

  json take() { return std::move(root_); }

 private:
  json* put(json value) {
    if (++values_ > max_json_values) {
      throw_invalid(name_ + ": too many JSON values",
                    "more than " + std::to_string(max_json_values));
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool open(json container) {
    if (open_.size() >= max_json_depth) {
      throw_invalid(name_ + ": nested too deeply",
                    "more than " + std::to_string(max_json_depth) + " levels");
    }
    open_.push_back(put(std::move(container)));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  const std::string& name_;
  json root_;
  // Pointers into the tree stay valid: only the innermost open container grows.
  std::vector<json*> open_;
  json* slot_ = nullptr;
  size_t values_ = 0;
};

}  // namespace

json parse_strict_json(std::string_view text, const std::string& name, uint64_t max_bytes) {
  if (text.size() > max_bytes) {
    throw_invalid(name + ": too large",
                  std::to_string(text.size()) + " bytes, at most " + std::to_string(max_bytes));
  }
  BoundedBuilder builder(name);
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

bool Place::is_null() const {
  return value_->is_null();
}
bool Place::is_object() const {
  return value_->is_object();
}
bool Place::is_array() const {
  return value_->is_array();
}
bool Place::is_string() const {
  return value_->is_string();
}

bool Place::has(std::string_view key) const {
  return find(key).has_value();
}

Place Place::at(std::string_view key) const {
  if (!is_object()) wrong_type("an object");
  const auto it = value_->find(std::string(key));
  if (it == value_->end()) fail("'" + std::string(key) + "' is missing", "it is required here");
  return Place(*it, path_ + (path_.ends_with(' ') ? "" : ".") + std::string(key));
}

std::optional<Place> Place::find(std::string_view key) const {
  if (!is_object()) wrong_type("an object");
  const auto it = value_->find(std::string(key));
  if (it == value_->end() || it->is_null()) return std::nullopt;
  return at(key);
}

Place Place::at(size_t index) const {
  if (index >= size()) fail("too short", "element " + std::to_string(index) + " is needed");
  return Place((*value_)[index], path_ + "[" + std::to_string(index) + "]");
}

size_t Place::size() const {
  if (!is_array()) wrong_type("an array");
  return value_->size();
}

const std::string& Place::string() const {
  if (!is_string()) wrong_type("a string");
  return value_->get_ref<const std::string&>();
}

bool Place::boolean() const {
  if (!value_->is_boolean()) wrong_type("true or false");
  return value_->get<bool>();
}

int64_t Place::integer(int64_t low, int64_t high) const {
  if (!value_->is_number_integer()) wrong_type("an integer");
  // A uint64 beyond int64 would wrap to a negative number.
  const bool wraps = value_->is_number_unsigned() && value_->get<uint64_t>() > INT64_MAX;
  const int64_t number = value_->get<int64_t>();
  if (wraps || number < low || number > high) {
    fail("number out of range", "expected " + std::to_string(low) + ".." + std::to_string(high) +
                                    ", found " + value_->dump());
  }
  return number;
}

char32_t Place::character() const {
  const std::string& text = string();
  if (text.empty() || decode_at(text, 0).bytes != text.size()) {
    fail("expected one character", "found " + std::to_string(count_code_points(text)));
  }
  return decode_at(text, 0).value;
}

void Place::fail(std::string_view problem, std::string_view why,
                 std::string_view suggestion) const {
  throw_invalid(path_ + (path_.ends_with(' ') ? "" : ": ") + std::string(problem), why, suggestion);
}

void Place::wrong_type(std::string_view expected) const {
  fail("wrong type", "expected " + std::string(expected) + ", found " + value_->type_name());
}

}  // namespace qsweep::model::tok
