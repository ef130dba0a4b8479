#include "sweep/grammar/tree.hpp"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/utf8.hpp"

namespace qsweep::sweep::grammar {
namespace {

constexpr size_t max_nodes = 1 << 18;  // far above 10,000 configs written out by hand

// Ends the parse after a fault that makes the rest meaningless.
struct Abandon {};

// Folds the parser's events into a tree. A map's key waits in `key_` until its value arrives.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(int source, Faults& faults) : source_(source), faults_(faults) {}
  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    put(make(Node::Kind::null, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    faults_.add(place_of(mark), "an alias", "a study says everything where it stands",
                "write the value out");
    put(make(Node::Kind::null, mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    Node node = make(Node::Kind::scalar, mark);
    node.text = value;
    // yaml-cpp tells plain scalars by the tag "?"; only a plain ~ or null means nothing.
    if (tag == "?" && (value == "~" || value == "null" || value.empty()))
      node.kind = Node::Kind::null;
    put(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    Node node;
    bool has_key = false;
    std::string key;
    Place key_place;
    std::map<std::string, int> lines;  // of the keys so far
  };

  // An override's text is one line whose columns mean nothing to the reader.
  Place place_of(const YAML::Mark& mark) const {
    return source_ == 0 ? Place{source_, mark.line + 1, mark.column + 1} : Place{source_, 0, 0};
  }
  Node make(Node::Kind kind, const YAML::Mark& mark) {
    if (++count_ > max_nodes) {
      faults_.add(place_of(mark), "the study is too large", "more than 262144 values",
                  "split it into several studies");
      throw Abandon{};
    }
    Node node;
    node.kind = kind;
    node.place = place_of(mark);
    return node;
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor == 0) return;
    faults_.add(place_of(mark), "an anchor", "a study says everything where it stands",
                "remove it and write the value out where it is used");
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    faults_.add(place_of(mark), "a type tag '" + tag + "'", "every key has its own type",
                "remove it");
  }
  void open(Node::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    if (levels_.size() >= static_cast<size_t>(max_depth)) {
      faults_.add(place_of(mark), "nested too deeply", "more than 32 levels", "flatten the study");
      throw Abandon{};
    }
    levels_.push_back({make(kind, mark), false, {}, {}, {}});
  }
  void close() {
    Node node = std::move(levels_.back().node);
    levels_.pop_back();
    put(std::move(node));
  }
  void put(Node node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.is_list()) {
      level.node.items.push_back(std::move(node));
    } else if (!level.has_key) {
      take_key(level, node);
    } else {
      level.node.entries.push_back({std::move(level.key), level.key_place, std::move(node)});
      level.has_key = false;
    }
  }
  void take_key(Level& level, const Node& node) {
    if (!node.is_scalar())
      faults_.add(node.place, "a key that is no word", "found " + describe(node));
    level.has_key = true;
    level.key = node.text;
    level.key_place = node.place;
    if (!node.is_scalar()) return;
    const auto [first, fresh] = level.lines.emplace(node.text, node.place.line);
    if (!fresh) {
      faults_.add(node.place, describe(node) + " stands twice in one map",
                  first->second > 0 ? "first at line " + std::to_string(first->second) : "",
                  "remove or rename one of them");
    }
  }

  int source_;
  Faults& faults_;
  Node root_;
  std::vector<Level> levels_;
  size_t count_ = 0;
};

// Where the text stops being UTF-8 without control characters, or its end.
size_t end_of_text(const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto c = static_cast<unsigned char>(text[at]);
    if (c >= 0x20 && c < 0x7F) {  // nearly all of a study
      ++at;
      continue;
    }
    const size_t length = utf8_length(std::string_view(text).substr(at));
    if (length == 0 || c == 0x7F || (c < 0x20 && c != '\n' && c != '\r' && c != '\t')) break;
    at += length;
  }
  return at;
}

bool acceptable_bytes(const std::string& yaml, int source, Faults& faults) {
  if (yaml.size() > max_document_bytes) {
    faults.add({source, 0, 0}, "the study is too large", "more than 1 MB",
               "use a config's sweep, or split it into several studies");
    return false;
  }
  const size_t end = end_of_text(yaml);
  if (end < yaml.size()) {
    const auto bad = yaml.begin() + static_cast<ptrdiff_t>(end);
    const auto line = static_cast<int>(std::count(yaml.begin(), bad, '\n')) + 1;
    const bool foreign = static_cast<unsigned char>(*bad) >= 0x80;
    faults.add({source, source == 0 ? line : 0, 0}, "not a text",
               foreign ? "bytes that are no UTF-8" : "a control character",
               "save the study as UTF-8");
    return false;
  }
  return true;
}

}  // namespace

bool Node::is_empty() const {
  return is_null() || (is_map() && entries.empty());
}

const Node* Node::find(const std::string& key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

Node parse_tree(const std::string& yaml, int source, Faults& faults) {
  if (!acceptable_bytes(yaml, source, faults)) return {};
  TreeBuilder builder(source, faults);
  try {
    std::istringstream stream(yaml);
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return {};
    Node root = builder.take();
    TreeBuilder rest(source, faults);
    if (parser.HandleNextDocument(rest)) {
      faults.add(rest.take().place, "a second document", "one file is one study",
                 "remove the '---'");
    }
    return root;
  } catch (const Abandon&) {
  } catch (const YAML::Exception& error) {
    const Place place =
        source == 0 ? Place{0, error.mark.line + 1, error.mark.column + 1} : Place{source, 0, 0};
    faults.add(place, "not YAML", error.msg);
  }
  return {};
}

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::scalar:
      return "'" + (node.text.size() > 60 ? node.text.substr(0, 57) + "..." : node.text) + "'";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::map:
      return "a map";
  }
  return "nothing";
}

}  // namespace qsweep::sweep::grammar
