#include "sweep/grammar/read.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "base/files.hpp"

namespace qsweep::sweep::grammar {
namespace {

std::string range_text(const std::string& low, const std::string& high) {
  return "from " + low + " to " + high;
}

template <class T>
std::optional<T> parse_whole(const std::string& text) {
  T value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

MapReader::MapReader(const Node& node, std::string what, std::vector<std::string> known,
                     Faults& faults)
    : node_(node), what_(std::move(what)), faults_(faults) {
  if (!node.is_map() && !node.is_null()) {
    ok_ = false;
    faults.add(node.place, what_ + " should be a map", "found " + describe(node),
               "its keys are " + joined(known));
    return;
  }
  for (const Entry& entry : node.entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    faults.add(entry.place, what_ + " has no key '" + entry.key + "'", "",
               suggest_word(entry.key, known));
  }
}

const Node* MapReader::need(const std::string& key) const {
  const Node* found = node_.find(key);
  if (found == nullptr && ok_) {
    faults_.add(node_.place, what_ + " lacks the key '" + key + "'", "", "add it");
  }
  return found;
}

int64_t read_integer(const Node& node, const std::string& what, int64_t min, int64_t max,
                     int64_t fallback, Faults& faults) {
  const auto value = node.is_scalar() ? parse_whole<int64_t>(node.text) : std::nullopt;
  if (value && *value >= min && *value <= max) return *value;
  faults.add(
      node.place,
      what + " should be a whole number " + range_text(std::to_string(min), std::to_string(max)),
      "found " + describe(node));
  return fallback;
}

double read_real(const Node& node, const std::string& what, double min, double max, double fallback,
                 Faults& faults, bool percent) {
  std::string text = node.is_scalar() ? node.text : std::string();
  double scale = 1;
  if (percent && text.ends_with('%')) {
    text.pop_back();
    scale = 0.01;
  }
  auto value = parse_whole<double>(text);
  // Division keeps 25% and 0.25 the same double where 25 * 0.01 might not.
  if (value && scale != 1) value = *value / 100;
  if (value && std::isfinite(*value) && *value >= min && *value <= max) return *value;
  faults.add(node.place,
             what + " should be a number " + range_text(number_text(min), number_text(max)) +
                 (percent ? ", or a percentage" : ""),
             "found " + describe(node));
  return fallback;
}

bool read_flag(const Node& node, const std::string& what, bool fallback, Faults& faults) {
  if (node.is_scalar() && (node.text == "true" || node.text == "false")) return node.text == "true";
  faults.add(node.place, what + " should be true or false", "found " + describe(node));
  return fallback;
}

std::string read_text(const Node& node, const std::string& what, Faults& faults) {
  const bool control = std::any_of(node.text.begin(), node.text.end(),
                                   [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (node.is_scalar() && !node.text.empty() && node.text.size() <= max_text_bytes && !control)
    return node.text;
  faults.add(node.place, what + " should be a text of 1 to 1024 bytes", "found " + describe(node));
  return {};
}

bool check_safe_name(const std::string& name, const Place& place, const std::string& what,
                     Faults& faults) {
  if (is_safe_name(name)) return true;
  faults.add(place, what + " '" + name.substr(0, 60) + "' cannot name a folder",
             "letters, digits, '.', '_', '+', '-', at most 120, not starting with '.' or '-'",
             "rename it");
  return false;
}

std::string read_safe_name(const Node& node, const std::string& what, Faults& faults) {
  const std::string text = read_text(node, what, faults);
  return !text.empty() && check_safe_name(text, node.place, what, faults) ? text : std::string();
}

std::string read_word(const Node& node, const std::string& what,
                      const std::vector<std::string>& known, Faults& faults) {
  if (!node.is_scalar()) {
    faults.add(node.place, what + " should be a word", "found " + describe(node),
               suggest_word("", known));
    return {};
  }
  if (std::find(known.begin(), known.end(), node.text) != known.end()) return node.text;
  faults.add(node.place, what + " cannot be " + describe(node), "", suggest_word(node.text, known));
  return {};
}

std::vector<const Node*> read_list(const Node& node, const std::string& what, Faults& faults) {
  std::vector<const Node*> items;
  if (node.is_scalar()) items.push_back(&node);
  for (const Node& item : node.items) items.push_back(&item);
  if (node.is_map() || node.is_null() || (node.is_list() && items.empty())) {
    faults.add(node.place, what + " should be a value or a list of values",
               node.is_list() ? "the list is empty" : "found " + describe(node));
  }
  return items;
}

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto [end, code] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  expect(code == std::errc(), "32 characters hold any double");
  return {buffer.data(), end};
}

std::string percent_text(double fraction) {
  if (fraction == 0) return "0%";
  // Reading divides by 100, so the preimage lies within a few units in the last place of the
  // product.
  constexpr int reach = 4;
  double candidate = fraction * 100;
  for (int i = 0; i < reach; ++i) candidate = std::nextafter(candidate, -HUGE_VAL);
  std::string best;
  for (int i = -reach; i <= reach; ++i, candidate = std::nextafter(candidate, HUGE_VAL)) {
    const std::string text = number_text(candidate);
    if (candidate / 100 == fraction && (best.empty() || text.size() < best.size())) best = text;
  }
  return (best.empty() ? number_text(fraction * 100) : best) + "%";
}

}  // namespace qsweep::sweep::grammar
